"""The sandbox, as an object to work with."""

from __future__ import annotations

from .sandbox import AsyncSandbox, Sandbox
from .streams import AsyncExecStream, ExecStream

__all__ = ["AsyncExecStream", "AsyncSandbox", "ExecStream", "Sandbox"]
