"""Sockets that came out of a sandbox."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import wire

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["GuestSocket", "take_socket"]


class GuestSocket(socket.socket):
    """A socket that never blocks, and of which everything is read before its end is told.

    Whether a socket blocks can be changed by all who have it, and who knows what the agent kept.

    asyncio gives a connection up as soon as it cannot be written to; but the program may have said
    something, like why it reads no further, just before it closed. Therefore what cannot be sent is
    dropped, and whoever reads learns of it when nothing is left to read.
    """

    _broken: ConnectionError | None = None

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, as the base class does."""
        data = super().recv(bufsize, flags | socket.MSG_DONTWAIT)
        self._acknowledge()
        if not data and self._broken is not None:
            raise self._broken
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, as the base class does."""
        count = super().recv_into(buffer, nbytes, flags | socket.MSG_DONTWAIT)
        self._acknowledge()
        if not count and self._broken is not None:
            raise self._broken
        return count

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send; to nobody, if the connection is broken."""
        try:
            return super().send(data, flags | socket.MSG_DONTWAIT)
        except ConnectionError as error:
            self._broken = error
            return memoryview(data).nbytes

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[object] = (),
        flags: int = 0,
        address: object = None,
        /,
    ) -> int:
        """Send; to nobody, if the connection is broken. Only the buffers are sent."""
        pieces = list(buffers)
        try:
            return super().sendmsg(pieces, (), flags | socket.MSG_DONTWAIT)
        except ConnectionError as error:
            self._broken = error
            return sum(memoryview(piece).nbytes for piece in pieces)

    def _acknowledge(self) -> None:
        """Say at once what has arrived.

        Many programs write heads and bodies one after the other without asking for TCP_NODELAY.
        Their second write waits for this, and 40 ms if nothing is done.
        """
        if sys.platform == "linux":
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # until the next time


def take_socket(fds: list[int]) -> GuestSocket:
    """Return the one descriptor that came, if it is what it should be; the others are closed.

    Raises:
        EngineError: It is not.
    """
    sock = None
    if len(fds) == 1:
        with contextlib.suppress(OSError):
            sock = GuestSocket(fileno=fds[0])
    if sock is None:
        wire.close_all(fds)
        raise EngineError("the agent returned something that is no connection")
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        sock.close()
        raise EngineError("the agent returned something that is no connection")
    sock.setblocking(False)
    # close(2) would wait for as long as this says, blocking or not.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    return sock
