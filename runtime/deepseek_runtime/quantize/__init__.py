"""Quantized copies of models."""
