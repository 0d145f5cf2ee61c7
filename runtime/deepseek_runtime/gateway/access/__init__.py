"""Who asks, and may they: API keys, Kubernetes tokens, SubjectAccessReview."""
