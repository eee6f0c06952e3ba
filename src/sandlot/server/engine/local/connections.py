"""Connections to programs that listen in a sandbox.

The agent begins them: a socket stays in the network namespace that it was made in, wherever it is
passed to, so the server need not, and could not always, go there itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakSet

from sandlot.server.engine.base import EngineError, PortClosedError, SandboxGoneError
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Connections"]

_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH)


class Connections:
    """The connections of one sandbox; they end with it."""

    def __init__(self, agent: AgentClient) -> None:
        self._agent = agent
        self._transports = WeakSet[asyncio.Transport]()
        agent.when_gone(self._abort)

    async def open(
        self, port: int, factory: Callable[[], asyncio.Protocol], *, v6: bool = False
    ) -> asyncio.Transport:
        """Connect to a port of the loopback interface, by IPv4 or else by IPv6.

        Raises:
            PortClosedError: Nothing listens there.
            EngineError: The connection cannot be made.
        """
        try:
            sock = await self._dial(port, v6=v6)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and not v6:
                return await self.open(port, factory, v6=True)
            if error.errno == errno.ECONNREFUSED or (v6 and error.errno in _NO_IPV6):
                raise PortClosedError(f"nothing listens on port {port}") from error
            raise EngineError(f"port {port} cannot be reached: {error.strerror}") from error
        transport, _ = await asyncio.get_running_loop().create_connection(factory, sock=sock)
        if self._agent.gone:
            transport.abort()
            raise SandboxGoneError("the sandbox has died")
        self._transports.add(transport)
        return transport

    async def _dial(self, port: int, *, v6: bool) -> _Socket:
        """Return a socket once it is connected."""
        try:
            _, fds = await self._agent.ask("dial", {"port": port, "v6": v6})
        except RefusedError as error:
            raise OSError(error.number, str(error)) from error
        sock = _take_socket(fds)
        try:
            await _wait_connected(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _abort(self) -> None:
        for transport in list(self._transports):
            transport.abort()


class _Socket(socket.socket):
    """A socket that never blocks.

    Whether a socket blocks can be changed by all who have it, and who knows what the agent kept.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        return super().recv(bufsize, flags | socket.MSG_DONTWAIT)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        return super().recv_into(buffer, nbytes, flags | socket.MSG_DONTWAIT)

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        return super().send(data, flags | socket.MSG_DONTWAIT)

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[object] = (),
        flags: int = 0,
        address: object = None,
        /,
    ) -> int:
        return super().sendmsg(buffers, (), flags | socket.MSG_DONTWAIT)


def _take_socket(fds: list[int]) -> _Socket:
    """Return the one descriptor that came, if it is what it should be.

    Raises:
        EngineError: It is not.
    """
    sock = None
    if len(fds) == 1:
        with contextlib.suppress(OSError):
            sock = _Socket(fileno=fds[0])
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


async def _wait_connected(sock: socket.socket) -> None:
    """Wait until a connection that was begun is made.

    Raises:
        OSError: It failed.
    """
    loop = asyncio.get_running_loop()
    while not _is_connected(sock):
        writable: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock.fileno(), _finish, writable)
        try:
            await writable
        finally:
            _ = loop.remove_writer(sock.fileno())


def _is_connected(sock: socket.socket) -> bool:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return True


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
