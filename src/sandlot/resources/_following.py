"""Following builds to their end."""

from __future__ import annotations

from collections.abc import Callable

from .. import models
from .._operations import builds
from .._transport import AsyncTransport, Transport
from ..sandbox import _turns as turns

__all__ = ["async_follow", "follow"]


def follow(
    transport: Transport,
    build_id: str,
    timeout: float | None,
    progress: Callable[[models.BuildLogPiece], object] | None,
) -> models.Build:
    """Wait for the end of a build, handing on what it writes."""
    reader = builds.Reader(transport.server, build_id, timeout)
    while not reader.done:
        for piece in transport.run(reader.read()):
            if progress is not None:
                turns.call(progress, piece)
    return transport.run(reader.result())


async def async_follow(
    transport: AsyncTransport,
    build_id: str,
    timeout: float | None,
    progress: Callable[[models.BuildLogPiece], object] | None,
) -> models.Build:
    """Wait for the end of a build, handing on what it writes."""
    reader = builds.Reader(transport.server, build_id, timeout)
    while not reader.done:
        for piece in await transport.run(reader.read()):
            if progress is not None:
                await turns.async_call(progress, piece)
    return await transport.run(reader.result())
