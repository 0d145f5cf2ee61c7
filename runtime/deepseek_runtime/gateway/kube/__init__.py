"""The Kubernetes API, as far as the gateway needs it."""
