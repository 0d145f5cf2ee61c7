"""A Kubernetes cluster of this machine's own, built from source, for people and tests."""
