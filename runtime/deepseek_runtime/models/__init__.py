"""Making models: architectures, random weights, tokenizers, and copies of what training exported."""
