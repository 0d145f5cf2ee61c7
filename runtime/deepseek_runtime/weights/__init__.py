"""Weights on disk: what is in them, whether they are what they should be, and how a result is sealed."""
