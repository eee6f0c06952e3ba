"""Begins everything, in an order that matters."""

from __future__ import annotations

import contextlib
import importlib
import os

from . import startup
from .forking import ForkServer
from .slow_modules import hide

__all__ = ["main"]


def main() -> None:
    """Run the Jupyter server of a sandbox, and write to standard output how far it is."""
    os.makedirs(startup.packages(), exist_ok=True)
    importlib.invalidate_caches()  # it was not there before, which is remembered
    kernels = ForkServer()  # first: it must not inherit what the server needs
    output = os.dup(1)
    _ = os.dup2(2, 1)  # nobody else shall write there
    hide()
    from . import provisioning, server

    provisioning.register(kernels)
    server.serve(server.listen(), lambda line: _say(output, line))


def _say(output: int, line: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        _ = os.write(output, f"{line}\n".encode())
