"""A small corpus, so that everything runs with no download."""
