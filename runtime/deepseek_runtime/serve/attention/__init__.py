"""Attention over a paged cache: multi-head latent (MLA) and grouped-query (MHA)."""
