"""The project's images: building them, and putting them into the cluster without a registry."""
