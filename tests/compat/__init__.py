"""This library against a double of the original server."""
