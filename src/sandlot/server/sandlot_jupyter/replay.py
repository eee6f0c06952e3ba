"""Conversations with kernels that outlast their connections.

A client that has lost its connection, and comes back with the same session before long, gets all
that it has missed: what was sent into the lost connection as well as what came up afterwards. It
says how many messages it has received (`after`, 0 the first time), and is told whether nothing is
missing (`X-Sandlot-Resumed`).

Jupyter's own buffer has only what came up after the loss was noticed, and works only for kernels
with no other client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, ClassVar

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.websocket import WebSocketClosedError

__all__ = ["ReplayingConnection"]

_HEADER = "X-Sandlot-Resumed"
_PATIENCE = 120.0
"""Seconds in which a client must come back."""
_MOST_BYTES = 16 << 20
_MOST_MESSAGES = 20_000
_FAREWELL = 1000  # RFC 6455, section 7.4.1: the client has what it wanted


class ReplayingConnection(ZMQChannelsWebsocketConnection):
    """A connection whose client may be replaced by its successor.

    Only for clients that say `after`; for others it is as any.
    """

    _open: ClassVar[dict[str, ReplayingConnection]] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._log: _Log | None = None
        self._subprotocol: str | None = None
        self._resumed_after: int | None = None
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def subprotocol(self) -> str | None:
        """What the client speaks, which its successor speaks too."""
        if self._subprotocol is None:
            self._subprotocol = super().subprotocol
        return self._subprotocol

    @property
    def write_message(self) -> Any:
        """What sends a message to the client."""
        return self._write

    async def prepare(self) -> None:
        """Begin, or let the connection go on that the client has lost."""
        handler = self.websocket_handler
        after = handler.get_argument("after", "")
        if after.isdecimal():
            key = f"{self.kernel_id}:{self.session.session}"
            before = self._open.get(key)
            if before is not None:
                if before.take_over(handler, int(after)):
                    return
                before.end()
            self._open[key] = self
            self._log = _Log()
        handler.set_header(_HEADER, "no")
        await super().prepare()

    def connect(self) -> asyncio.Future[None] | None:
        """Begin to listen to the kernel; or send what was missed, listening all the time."""
        # Messages are small and many: none shall wait for the one before.
        self.websocket_handler.set_nodelay(True)
        if self._resumed_after is None:
            return super().connect()
        assert self._log is not None
        for message, binary in self._log.after(self._resumed_after) or ():
            self._send(message, binary)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def disconnect(self) -> None:
        """Take note that the client is gone; wait a while for its successor."""
        if self._log is None or self.websocket_handler.close_code == _FAREWELL:
            self.end()
        elif self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(_PATIENCE, self.end)

    def take_over(self, handler: Any, after: int) -> bool:
        """Serve another handler from now on, if nothing is missing; return whether."""
        if (
            self._log is None
            or self._log.after(after) is None
            or self.kernel_id not in self.multi_kernel_manager
            or self.multi_kernel_manager.ports_changed(self.kernel_id)
        ):
            return False
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        lost = self.websocket_handler
        lost.connection = _Nobody()
        lost.close()
        self.websocket_handler = handler
        self._resumed_after = after
        handler.connection = self
        handler.set_header(_HEADER, "yes")
        return True

    def end(self) -> None:
        """Stop listening to the kernel."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._open.get(self.session_key) is self:
            del self._open[self.session_key]
        self._log = None
        super().disconnect()

    def _write(self, message: Any, binary: bool = False) -> None:
        if self._log is not None:
            self._log.add(message, binary)
        self._send(message, binary)

    def _send(self, message: Any, binary: bool) -> None:
        try:
            _ = self.websocket_handler.write_message(message, binary=binary)
        except WebSocketClosedError:
            return  # it is in the log


class _Nobody:
    """Takes the place of a connection that has another client now."""

    def handle_incoming_message(self, message: object) -> None:
        """Ignore what is not from the client that counts."""

    def disconnect(self) -> None:
        """Know already."""


class _Log:
    """The latest part of what was sent."""

    def __init__(self) -> None:
        self._count = 0
        self._bytes = 0
        self._messages: deque[tuple[Any, bool]] = deque()

    def add(self, message: Any, binary: bool) -> None:
        """Remember a message."""
        self._count += 1
        self._bytes += len(message)
        self._messages.append((message, binary))
        while self._bytes > _MOST_BYTES or len(self._messages) > _MOST_MESSAGES:
            self._bytes -= len(self._messages.popleft()[0])

    def after(self, count: int) -> list[tuple[Any, bool]] | None:
        """Return what followed the first so many messages; None if not all of it is there."""
        missed = self._count - count
        if not 0 <= missed <= len(self._messages):
            return None
        return list(self._messages)[len(self._messages) - missed :]
