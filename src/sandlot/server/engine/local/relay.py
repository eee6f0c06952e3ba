"""Bytes between a connection of a sandbox and one to the outside.

What one side says, its end and its breaking off are carried over to the other. Only as much is read
as can be written, but for one piece, so that a slow reader slows the writer down and costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

__all__ = ["PIECE", "Relay"]

PIECE = 256 * 1024
"""Bytes that are moved at once, and the most that are held of each direction."""

_RESET = struct.pack("ii", 1, 0)  # struct linger: closing sends a RST
_KEEPALIVE = {socket.TCP_KEEPIDLE: 120, socket.TCP_KEEPINTVL: 30, socket.TCP_KEEPCNT: 4}


class Relay:
    """Two connected sockets, joined until both have ended or one has broken off.

    Args:
        inside: The connection of the sandbox; taken over.
        outside: The other one; taken over.
        buffer: Room for a piece, which all relays of an event loop may share.
    """

    def __init__(
        self,
        inside: socket.socket,
        outside: socket.socket,
        buffer: memoryview,
    ) -> None:
        self._sockets = inside, outside
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ways = (
            _Way(inside, outside, buffer, self._look, self._abort),
            _Way(outside, inside, buffer, self._look, self._abort),
        )
        for sock in self._sockets:
            _prepare(sock)
        for way in self._ways:
            way.start()

    async def run(self) -> None:
        """Wait until both sockets are closed; if this is cancelled, both connections break off."""
        try:
            await self._ended
        finally:
            self._abort()

    def _abort(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _look(self) -> None:
        """Carry an end over, or make one. It is as orderly as what led to it."""
        if not all(way.ended for way in self._ways):
            for way in self._ways:
                if way.ended and not way.broken:
                    way.carry_over()
        elif any(way.broken for way in self._ways):
            self._abort()
        else:
            self._close()

    def _close(self) -> None:
        if self._sockets[0].fileno() < 0:
            return
        for way in self._ways:
            way.stop()
        for sock in self._sockets:
            sock.close()
        if not self._ended.done():
            self._ended.set_result(None)


class _Way:
    """One direction.

    Neither socket ever blocks, even if somebody else who has it wants it to (MSG_DONTWAIT).

    Args:
        on_end: Called when nothing more will be moved.
        on_reset: Called when the source has broken off: nothing more will come from there or be
            heard there.

    Attributes:
        ended: Whether nothing more will be moved.
        broken: Whether that is because the sink does not listen any more. It may have said why; so
            the other direction goes on.
    """

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        buffer: memoryview,
        on_end: Callable[[], None],
        on_reset: Callable[[], None],
    ) -> None:
        self.ended = False
        self.broken = False
        self._source = source
        self._sink = sink
        self._buffer = buffer
        self._rest = memoryview(b"")
        self._on_end = on_end
        self._on_reset = on_reset
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Read when there is something."""
        self._loop.add_reader(self._source.fileno(), self._move)

    def stop(self) -> None:
        """Do nothing more."""
        _ = self._loop.remove_reader(self._source.fileno())
        _ = self._loop.remove_writer(self._sink.fileno())

    def _move(self) -> None:
        try:
            count = self._source.recv_into(self._buffer, PIECE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self._on_reset()
            return
        if not count:
            self._end()
            return
        sent = self._send(self._buffer[:count])
        if sent < count and not self.ended:
            self._rest = memoryview(bytes(self._buffer[sent:count]))
            _ = self._loop.remove_reader(self._source.fileno())
            self._loop.add_writer(self._sink.fileno(), self._flush)

    def _flush(self) -> None:
        self._rest = self._rest[self._send(self._rest) :]
        if not self._rest and not self.ended:
            self._rest = memoryview(b"")  # let go of the piece
            _ = self._loop.remove_writer(self._sink.fileno())
            self.start()

    def _send(self, data: memoryview) -> int:
        try:
            return self._sink.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            self.broken = True
            self._end()
            return 0

    def carry_over(self) -> None:
        """Say to the sink that nothing more will come."""
        with contextlib.suppress(OSError):  # not connected any more
            self._sink.shutdown(socket.SHUT_WR)

    def _end(self) -> None:
        """Note the end. Nothing is left to send, or nothing would have been read."""
        self.ended = True
        self.stop()
        self._on_end()


def _prepare(sock: socket.socket) -> None:
    """Pass pieces on as they come, and notice sooner or later that the other side has gone."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
