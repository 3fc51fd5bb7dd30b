"""Training: taggers fine-tuned on what was projected, on gold, and on other taggers' probabilities."""
