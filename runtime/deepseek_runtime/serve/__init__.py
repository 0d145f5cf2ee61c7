"""The builtin serving engine: continuous batching over a paged (latent) cache, on one process or tensor-parallel."""
