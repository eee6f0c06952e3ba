"""Connections to programs that listen in a sandbox.

The agent begins them: a socket stays in the network namespace that it was made in, wherever it is
passed to, so the server need not, and could not always, go there itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from weakref import WeakSet

from sandlot.server.engine.base import EngineError, PortClosedError, SandboxGoneError

from .agent import AgentClient, RefusedError
from .sockets import GuestSocket, take_socket

__all__ = ["Connections"]

_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH)


class Connections:
    """The connections of one sandbox; they end with it."""

    def __init__(self, agent: AgentClient) -> None:
        self._agent = agent
        self._transports = WeakSet[asyncio.Transport]()
        agent.when_gone(self._abort)

    async def open(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], *, v6: bool = False
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

    async def _dial(self, port: int, *, v6: bool) -> GuestSocket:
        """Return a socket once it is connected."""
        try:
            fds = await self._agent.fetch("dial", {"port": port, "v6": v6})
        except RefusedError as error:
            raise OSError(error.number, str(error)) from error
        sock = take_socket(fds)
        try:
            await _wait_connected(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _abort(self) -> None:
        for transport in list(self._transports):
            transport.abort()


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
