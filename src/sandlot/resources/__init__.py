"""The namespaces of a client: one file each, both colours in it."""
