"""The local engine: sandboxes made of Linux namespaces on this machine, with or without root."""

from .engine import LocalEngine

__all__ = ["LocalEngine"]
