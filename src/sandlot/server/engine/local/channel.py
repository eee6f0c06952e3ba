"""The server's end of a conversation with the zygote or with an agent, on the event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence

from sandlot.server.guest import wire

__all__ = ["Channel", "socket_pair"]

logger = logging.getLogger("sandlot.server.engine")


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return the server's end and the guest's end of a new channel."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    mine.setblocking(False)
    return mine, theirs


class Channel:
    """Sends and receives messages without ever blocking.

    Args:
        sock: The server's end of a socket pair.
        on_message: Called with each message and its descriptors, which are the callee's to close.
            If it raises `WireError`, the other side is not listened to any more.
        on_close: Called once when the conversation has ended, whoever ended it.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[wire.Message, list[int]], None],
        on_close: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._on_close = on_close
        self._decoder = wire.Decoder()
        self._unsent: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._receive)

    @property
    def closed(self) -> bool:
        """Whether the conversation has ended."""
        return self._closed

    def send(self, message: wire.Message, fds: Sequence[int] = ()) -> None:
        """Send a message, later if need be. The descriptors are closed when it is sent."""
        if self._closed:
            wire.close_all(fds)
            return
        idle = not self._unsent
        self._unsent.append((memoryview(wire.encode(message, len(fds))), fds))
        if idle:
            self._flush()

    def close(self) -> None:
        """End the conversation; may be repeated."""
        if self._closed:
            return
        self._closed = True
        _ = self._loop.remove_reader(self._sock.fileno())
        _ = self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._decoder.close()
        for _, fds in self._unsent:
            wire.close_all(fds)
        self._unsent.clear()
        self._on_close()

    def _flush(self) -> None:
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                sent = wire.transmit(self._sock, data, fds)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._flush)
                return
            except OSError:
                self.close()
                return
            wire.close_all(fds)
            if sent < len(data):
                self._unsent[0] = (data[sent:], ())
            else:
                _ = self._unsent.popleft()
        _ = self._loop.remove_writer(self._sock.fileno())

    def _receive(self) -> None:
        try:
            data, fds = wire.receive(self._sock)
            if not data:
                self.close()
                return
            self._decoder.feed(data, fds)
            while not self._closed and (packet := self._decoder.next()) is not None:
                self._on_message(*packet)
        except BlockingIOError:
            return
        except OSError:
            self.close()
        except wire.WireError as error:
            logger.warning("a guest broke the protocol: %s", error)
            self.close()
