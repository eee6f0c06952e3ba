"""Perform operations over HTTP, blocking or awaiting: the only package that knows httpx."""

from __future__ import annotations

from .awaiting import AsyncTransport
from .blocking import Transport
from .common import Endpoint, Local

__all__ = ["AsyncTransport", "Endpoint", "Local", "Transport"]
