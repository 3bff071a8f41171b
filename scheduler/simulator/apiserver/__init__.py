"""The simulated cluster as a Kubernetes API server: a bare ASGI application over the store."""
