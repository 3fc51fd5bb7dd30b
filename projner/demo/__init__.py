"""A small corpus and toy models, so that everything runs with no download."""
