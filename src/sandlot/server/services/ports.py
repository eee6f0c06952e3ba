"""Ports of sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .errors import GatewayTimeoutError
from .live import LiveSandbox
from .problems import engine_errors

__all__ = ["connect"]


async def connect(
    live: LiveSandbox, port: int, factory: Callable[[], asyncio.BaseProtocol], timeout: float
) -> asyncio.Transport:
    """Connect to a program that listens in a running sandbox.

    Raises:
        PortClosedError: None does, on that port.
        GatewayTimeoutError: It does not accept the connection in time.
    """
    live.require("running")
    try:
        with engine_errors():
            return await live.handle.connect(port, factory, timeout)
    except TimeoutError as error:
        raise GatewayTimeoutError(
            f"What listens on port {port} did not accept the connection within {timeout:g} s."
        ) from error
