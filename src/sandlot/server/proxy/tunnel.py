"""Two connections joined: the bytes of each go to the other, unread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Tunnel"]

_LINGER = 30.0
"""Seconds without a byte after which a tunnel with one closed end is closed at the other."""


class Tunnel:
    """Moves bytes both ways, no faster than they are taken, until both ends are closed.

    Args:
        on_bytes: Called when some have been moved.

    Attributes:
        client, port: The protocols of the two connections.
    """

    def __init__(self, on_bytes: Callable[[], None]) -> None:
        self.client = _End(self)
        self.port = _End(self)
        self.client.other, self.port.other = self.port, self.client
        self._on_bytes = on_bytes
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._moved = False
        self._timer: asyncio.TimerHandle | None = None

    def join(self, client: asyncio.Transport, port: asyncio.Transport) -> None:
        """Begin; both connections must have their protocols already."""
        self.client.transport, self.port.transport = client, port
        for end in (client, port):
            end.resume_reading()

    async def wait_ended(self) -> None:
        """Wait until both ends are closed; if cancelled, close them."""
        try:
            await asyncio.shield(self._ended)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close both ends at once; may be repeated."""
        for end in (self.client, self.port):
            if end.transport is not None:
                end.transport.abort()

    def moved(self) -> None:
        """Hear that bytes are on their way."""
        self._moved = True
        self._on_bytes()

    def half_closed(self) -> None:
        """Hear that one end has nothing more to say, or is gone."""
        if self.client.lost and self.port.lost:
            if self._timer is not None:
                self._timer.cancel()
            if not self._ended.done():
                self._ended.set_result(None)
        elif self._timer is None:
            self._timer = self._loop.call_later(_LINGER, self._look)

    def _look(self) -> None:
        if not self._moved:
            self.abort()
            return
        self._moved = False
        self._timer = self._loop.call_later(_LINGER, self._look)


class _End(asyncio.Protocol):
    """One end of a tunnel."""

    other: _End

    def __init__(self, tunnel: Tunnel) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._tunnel = tunnel
        self._ended = False

    def data_received(self, data: bytes) -> None:
        self.other.write(data)
        self._tunnel.moved()

    def eof_received(self) -> bool:
        self._ended = True
        if self.other.transport is not None and not self.other.transport.is_closing():
            if self.other.ended:
                self.other.transport.close()
            else:
                self.other.transport.write_eof()
        self._tunnel.half_closed()
        return not self.other.ended

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.other.transport is not None:
            self.other.transport.close()  # what is on its way may still arrive
        self._tunnel.half_closed()

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    @property
    def ended(self) -> bool:
        """Whether it has nothing more to say."""
        return self._ended

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)
