"""WebSocket connections, blocking and awaiting: the only module that knows websockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)
from websockets.frames import CloseCode
from websockets.http11 import Response as Refusal
from websockets.protocol import State
from websockets.sync.client import ClientConnection as Connection
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from ._flow import Response
from .errors import ConnectError, RequestTimeoutError, TransportError, UnexpectedResponseError

_CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the server to agree to the end of a conversation."""

_GONE_AFTER = 60.0
"""Seconds after which a server that acknowledges nothing is taken for gone."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and how."""

    url: str
    headers: Mapping[str, str]
    subprotocol: str
    timeout: float
    tls: ssl.SSLContext | None
    proxy: str | Literal[True] | None
    at: tuple[str, int] | None = None
    """Where to connect, if not where the URL says; no proxy is used then."""
    max_size: int | None = None
    """Largest message in bytes."""
    ping_interval: float | None = 20.0
    """Seconds between pings. Pongs wait behind what nobody has read yet, so their absence says
    nothing; but a ping that is not acknowledged lets TCP find out that the server is gone."""


class ClosedError(ConnectionError):
    """The connection ended."""


class _RefusedError(Exception):
    """The server answered the opening handshake with something else than 101.

    Raised in place of websockets' own exception, because that one makes `connect` follow redirects,
    taking the credentials along.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status_code)
        headers = {name.lower(): value for name, value in refusal.headers.raw_items()}
        self.response = Response(refusal.status_code, bytes(refusal.body or b""), headers)


class _Connection(Connection):
    def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as exc:
            raise _RefusedError(exc.response) from exc


class _AsyncConnection(AsyncConnection):
    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().handshake(*args, **kwargs)
        except InvalidStatus as exc:
            raise _RefusedError(exc.response) from exc


class Socket:
    """A connection, blocking."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pong: threading.Event | None = None

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed to speak."""
        return self._connection.subprotocol

    def send(self, message: str | bytes) -> None:
        """Send a message; raise `ClosedError` if nobody receives any more."""
        with _closed():
            self._connection.send(message)

    def receive(self, timeout: float | None = None) -> str | bytes:
        """Wait for a message; raise `ClosedError` at the end, TimeoutError after the time."""
        with _closed():
            return self._connection.recv(timeout)

    def close(self) -> None:
        """End the conversation."""
        self._connection.close()

    def ping(self) -> None:
        """Ask whether anybody is there."""
        with _closed():
            self._pong = self._connection.ping()

    def said(self, header: str) -> str | None:
        """Return a header of the answer that opened the connection."""
        answer = self._connection.response
        return None if answer is None else answer.headers.get(header)

    def is_open(self) -> bool:
        """Tell whether the other side has not hung up, as far as is known."""
        return self._connection.state is State.OPEN

    def is_answered(self) -> bool:
        """Tell whether the last ping came back. It comes after all that was sent before it."""
        return self._pong is None or self._pong.is_set()

    def abandon(self) -> None:
        """Drop the connection at once, having said that this is on purpose, if that can be sent."""
        connection = self._connection
        if connection.protocol_mutex.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError, WebSocketException):
                    connection.socket.settimeout(0)
                    connection.protocol.send_close(CloseCode.GOING_AWAY)
                    connection.socket.sendall(b"".join(connection.protocol.data_to_send()))
            finally:
                connection.protocol_mutex.release()
        self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        with contextlib.suppress(OSError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)


class AsyncSocket:
    """A connection, awaiting."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._pong: asyncio.Future[float] | None = None

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed to speak."""
        return self._connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        """Send a message; raise `ClosedError` if nobody receives any more."""
        with _closed():
            await self._connection.send(message)

    async def receive(self, timeout: float | None = None) -> str | bytes:
        """Wait for a message; raise `ClosedError` at the end, TimeoutError after the time."""
        with _closed():
            if timeout is None:
                return await self._connection.recv()
            async with asyncio.timeout(timeout):
                return await self._connection.recv()

    async def close(self) -> None:
        """End the conversation."""
        await self._connection.close()

    async def ping(self) -> None:
        """Ask whether anybody is there."""
        with _closed():
            self._pong = asyncio.ensure_future(await self._connection.ping())

    def said(self, header: str) -> str | None:
        """Return a header of the answer that opened the connection."""
        answer = self._connection.response
        return None if answer is None else answer.headers.get(header)

    def is_open(self) -> bool:
        """Tell whether the other side has not hung up, as far as is known."""
        here = asyncio.get_running_loop() is self._loop  # another one could not receive
        return here and self._connection.state is State.OPEN

    def is_answered(self) -> bool:
        """Tell whether the last ping came back. It comes after all that was sent before it."""
        return self._pong is None or self._pong.done()

    def abandon(self) -> None:
        """Drop the connection at once, having said that this is on purpose, if that can be sent."""
        with contextlib.suppress(RuntimeError):
            _ = self._loop.call_soon_threadsafe(self._say_goodbye)

    def _say_goodbye(self) -> None:
        connection = self._connection
        with contextlib.suppress(WebSocketException):
            connection.protocol.send_close(CloseCode.GOING_AWAY)
            connection.transport.write(b"".join(connection.protocol.data_to_send()))
        connection.transport.abort()

    def abort(self) -> None:
        """Drop the connection at once, from whatever thread."""
        with contextlib.suppress(RuntimeError):  # its event loop is closed, and it with it
            _ = self._loop.call_soon_threadsafe(self._connection.transport.abort)


def open_socket(address: Address) -> Socket | Response:
    """Connect; return the connection, or the answer of a server that refuses it."""
    try:
        with _translated(address):
            # Entered by hand because it is closed elsewhere; connecting without is deprecated.
            connection = connect(
                address.url,
                sock=None if address.at is None else _dial(address.at, address.timeout),
                create_connection=_Connection,
                additional_headers=address.headers,
                user_agent_header=None,
                subprotocols=[Subprotocol(address.subprotocol)],
                compression=None,
                open_timeout=address.timeout,
                ping_interval=address.ping_interval,
                ping_timeout=None,
                close_timeout=_CLOSE_TIMEOUT,
                max_size=address.max_size,
                proxy=None if address.at else address.proxy,
                ssl=address.tls,
            ).__enter__()
            _watch(connection.socket)
            return Socket(connection)
    except _RefusedError as exc:
        return exc.response


async def async_open_socket(address: Address) -> AsyncSocket | Response:
    """Connect; return the connection, or the answer of a server that refuses it."""
    at = address.at
    place: dict[str, Any] = {} if at is None else {"host": at[0], "port": at[1]}
    try:
        with _translated(address):
            connection = await async_connect(
                address.url,
                **place,
                create_connection=_AsyncConnection,
                additional_headers=address.headers,
                user_agent_header=None,
                subprotocols=[Subprotocol(address.subprotocol)],
                compression=None,
                open_timeout=address.timeout,
                ping_interval=address.ping_interval,
                ping_timeout=None,
                close_timeout=_CLOSE_TIMEOUT,
                max_size=address.max_size,
                proxy=None if address.at else address.proxy,
                ssl=address.tls,
            )
            _watch(connection.transport.get_extra_info("socket"))
            return AsyncSocket(connection)
    except _RefusedError as exc:
        return exc.response


def _dial(place: tuple[str, int], timeout: float) -> socket.socket:
    connection = socket.create_connection(place, timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _watch(connection: Any) -> None:
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # only Linux has it
    if option is not None:
        with contextlib.suppress(OSError):  # not TCP after all
            connection.setsockopt(socket.IPPROTO_TCP, option, int(_GONE_AFTER * 1000))


@contextmanager
def _closed() -> Generator[None, None, None]:
    try:
        yield
    except ConnectionClosed as exc:
        raise ClosedError(str(exc)) from exc


@contextmanager
def _translated(address: Address) -> Generator[None, None, None]:
    where = address.url.partition("?")[0]
    try:
        yield
    except TimeoutError as exc:
        raise RequestTimeoutError(
            f"{where}: the connection was not open after {address.timeout:g} s; nothing was run",
            is_retryable=True,
        ) from exc
    except (OSError, ProxyError, InvalidProxy, InvalidURI) as exc:
        raise ConnectError(
            f"{where} cannot be reached: {exc}; nothing was run", is_retryable=True
        ) from exc
    except InvalidHandshake as exc:
        if isinstance(exc.__cause__, EOFError | OSError):
            raise TransportError(
                f"{where}: the connection ended while it was being opened; nothing was run",
                is_retryable=True,
            ) from exc
        raise UnexpectedResponseError(f"{where}: no WebSocket there: {exc}") from exc
    except (EOFError, WebSocketException) as exc:
        raise TransportError(
            f"{where}: the connection ended while it was being opened: {exc}; nothing was run",
            is_retryable=True,
        ) from exc
