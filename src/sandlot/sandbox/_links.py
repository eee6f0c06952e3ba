"""A conversation with a kernel that lasts longer than its connections."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

from .._operations import kernels
from .._protocols.kernel import SUBPROTOCOL, Message, decode, encode
from .._transport import AsyncTransport, Transport
from ..errors import TransportError

if TYPE_CHECKING:
    from .._sockets import AsyncSocket, Socket

__all__ = ["AsyncKernelLink", "KernelLink"]

_BUSY = 1.0
"""Seconds after its use in which nobody asks whether the sandbox is still there."""
_IDLE_KEPT = 20.0
"""Seconds for which an unused connection is trusted: others on the way drop idle ones silently."""


class KernelLink:
    """Sends messages to a kernel and receives its own.

    Attributes:
        session: Names this side, so that a new connection gets what an old one missed.
        is_complete: Whether the connection goes on where the one before ended. Original servers
            cannot say that it does.
    """

    def __init__(self, transport: Transport, sandbox_id: str) -> None:
        self.session: str = uuid4().hex
        self._transport = transport
        self._sandbox_id = sandbox_id
        self._socket: Socket | None = None
        self.is_complete: bool = True
        self._kernel_id = ""
        self._received = 0
        self._used_at = 0.0

    def connect(self, kernel_id: str) -> None:
        """Connect anew."""
        self.drop()
        is_first = kernel_id != self._kernel_id
        if is_first:
            self._kernel_id = kernel_id
            self._received = 0
        place = self._sandbox_id, kernel_id, self.session
        opening = kernels.open_channels(*place, received=self._received)
        socket = self._socket = self._transport.socket(opening, SUBPROTOCOL)
        is_resumed = socket.said(kernels.RESUMED) == "yes"
        if not is_resumed:
            self._received = 0
        self.is_complete = is_first or is_resumed
        self._used_at = time.monotonic()

    def refresh(self, kernel_id: str) -> None:
        """Connect, unless there is a connection that can be trusted."""
        socket = self._socket
        if socket is None or not socket.is_open() or time.monotonic() > self._used_at + _IDLE_KEPT:
            self.connect(kernel_id)

    def send(self, message: Message) -> None:
        """Send a message; a ConnectionError says that it may not have arrived."""
        socket = self._connected()
        socket.send(encode(message, framed=socket.subprotocol == SUBPROTOCOL))
        self._used_at = time.monotonic()

    def insist(self, message: Message) -> None:
        """Send a message that does no harm if it arrives twice."""
        try:
            self.send(message)
        except ConnectionError:
            self.connect(self._kernel_id)
            try:
                self.send(message)
            except ConnectionError as exc:
                raise TransportError(
                    f"The connection to the kernel was lost ({exc}); no code was sent",
                    is_retryable=True,
                ) from exc

    def receive(self, timeout: float) -> Message:
        """Return the next message; raise TimeoutError after the time, or ConnectionError."""
        socket = self._connected()
        data = socket.receive(timeout)
        self._received += 1
        self._used_at = time.monotonic()
        return decode(data, framed=socket.subprotocol == SUBPROTOCOL)

    def poll(self) -> Message | None:
        """Return a message that has come already; None if there is none."""
        try:
            return self.receive(0)
        except (TimeoutError, ConnectionError):
            return None

    def check(self) -> None:
        """Ask for a sign of life, which is due at the next check; without one, hang up."""
        socket = self._connected()
        if not socket.is_answered():
            self.drop()
            raise ConnectionError("the other side no longer answers")
        socket.ping()

    def is_rested(self) -> bool:
        """Tell whether the connection has not been used for a while."""
        return time.monotonic() > self._used_at + _BUSY

    def drop(self) -> None:
        """Hang up at once; `connect` goes on where this ended."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.abort()

    def close(self) -> None:
        """End the conversation."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _connected(self) -> Socket:
        if self._socket is None:
            raise ConnectionError("the connection was lost")
        return self._socket


class AsyncKernelLink:
    """Sends messages to a kernel and receives its own.

    Attributes:
        session: Names this side, so that a new connection gets what an old one missed.
        is_complete: Whether the connection goes on where the one before ended. Original servers
            cannot say that it does.
    """

    def __init__(self, transport: AsyncTransport, sandbox_id: str) -> None:
        self.session: str = uuid4().hex
        self._transport = transport
        self._sandbox_id = sandbox_id
        self._socket: AsyncSocket | None = None
        self.is_complete: bool = True
        self._kernel_id = ""
        self._received = 0
        self._used_at = 0.0

    async def connect(self, kernel_id: str) -> None:
        """Connect anew."""
        self.drop()
        is_first = kernel_id != self._kernel_id
        if is_first:
            self._kernel_id = kernel_id
            self._received = 0
        place = self._sandbox_id, kernel_id, self.session
        opening = kernels.open_channels(*place, received=self._received)
        socket = self._socket = await self._transport.socket(opening, SUBPROTOCOL)
        is_resumed = socket.said(kernels.RESUMED) == "yes"
        if not is_resumed:
            self._received = 0
        self.is_complete = is_first or is_resumed
        self._used_at = time.monotonic()

    async def refresh(self, kernel_id: str) -> None:
        """Connect, unless there is a connection that can be trusted."""
        socket = self._socket
        if socket is None or not socket.is_open() or time.monotonic() > self._used_at + _IDLE_KEPT:
            await self.connect(kernel_id)

    async def send(self, message: Message) -> None:
        """Send a message; a ConnectionError says that it may not have arrived."""
        socket = self._connected()
        await socket.send(encode(message, framed=socket.subprotocol == SUBPROTOCOL))
        self._used_at = time.monotonic()

    async def insist(self, message: Message) -> None:
        """Send a message that does no harm if it arrives twice."""
        try:
            await self.send(message)
        except ConnectionError:
            await self.connect(self._kernel_id)
            try:
                await self.send(message)
            except ConnectionError as exc:
                raise TransportError(
                    f"The connection to the kernel was lost ({exc}); no code was sent",
                    is_retryable=True,
                ) from exc

    async def receive(self, timeout: float) -> Message:
        """Return the next message; raise TimeoutError after the time, or ConnectionError."""
        socket = self._connected()
        data = await socket.receive(timeout)
        self._received += 1
        self._used_at = time.monotonic()
        return decode(data, framed=socket.subprotocol == SUBPROTOCOL)

    async def poll(self) -> Message | None:
        """Return a message that has come already; None if there is none."""
        try:
            return await self.receive(0)
        except (TimeoutError, ConnectionError):
            return None

    async def check(self) -> None:
        """Ask for a sign of life, which is due at the next check; without one, hang up."""
        socket = self._connected()
        if not socket.is_answered():
            self.drop()
            raise ConnectionError("the other side no longer answers")
        await socket.ping()

    def is_rested(self) -> bool:
        """Tell whether the connection has not been used for a while."""
        return time.monotonic() > self._used_at + _BUSY

    def drop(self) -> None:
        """Hang up at once; `connect` goes on where this ended."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.abort()

    async def close(self) -> None:
        """End the conversation."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def _connected(self) -> AsyncSocket:
        if self._socket is None:
            raise ConnectionError("the connection was lost")
        return self._socket
