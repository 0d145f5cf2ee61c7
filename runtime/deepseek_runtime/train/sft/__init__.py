"""Supervised fine-tuning: examples as JSON lines, loss on their answers only, several in one row without leakage."""
