"""The controller: three resources in, Jobs, Deployments and routes out."""
