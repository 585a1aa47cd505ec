"""HTTP: plain ASGI hot routes, error mapping, metrics, health, documents."""
