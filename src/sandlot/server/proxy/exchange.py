"""A request that is passed on, and its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

import h11
from starlette.requests import ClientDisconnect

from sandlot.server.services.errors import BadGatewayError, GatewayTimeoutError, InvalidRequestError

from .client import Client
from .connections import BrokenError, PortConnection
from .headers import answer_headers, request_headers, wants_websocket
from .tunnel import Tunnel

__all__ = ["CutError", "Exchange", "Opener"]

_PATIENCE = 1.0
"""Seconds for which a program may leave a client waiting that asks whether to send its body."""

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1: they change nothing


class CutError(Exception):
    """The answer broke off when the client had got some of it already."""


class Opener(Protocol):
    """Opens connections to one port."""

    async def take(self, *, fresh: bool) -> PortConnection:
        """Return a connection; a new one if it has to be."""
        ...

    def give_back(self, connection: PortConnection) -> None:
        """Take back a connection that is not needed any more."""
        ...


class Exchange:
    """Passes a request on as it comes in, and the answer as that comes in.

    Args:
        client: The request.
        opener: Opens connections.
        timeout: Seconds that the answer may take to begin, once the request stands still.

    Attributes:
        begun: Whether the client has got some of the answer.

    Raises:
        InvalidRequestError: The request cannot be passed on.
    """

    def __init__(self, client: Client, opener: Opener, timeout: float) -> None:
        headers = request_headers(client.headers, client.address, client.origin)
        self._websocket = client.method == "GET" and wants_websocket(client.headers)
        if self._websocket:
            headers = [*headers, (b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        try:
            self._request = h11.Request(method=client.method, target=client.target, headers=headers)
        except h11.LocalProtocolError as error:
            raise InvalidRequestError(f"The request cannot be passed on: {error}.") from error
        self._address = client.address
        self._client = client
        self._opener = opener
        self._timeout = timeout
        self._has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0)
            for name, value in headers
        )
        self._repeatable = client.method in _REPEATABLE and not self._has_body
        self._connection: PortConnection | None = None
        self._listener: asyncio.Task[None] | None = None
        self._deadline: asyncio.Timeout | None = None
        # The client waits until it is asked for the body, either by the program or by our reading.
        self._asked = asyncio.Event() if any(name == b"expect" for name, _ in headers) else None
        self._reading = self._asked is None
        self._declined = False
        self._deserted = False
        self._complete = False
        self.begun = False

    async def run(self, on_bytes: Callable[[], None]) -> Tunnel | None:
        """Pass everything on; return the tunnel, if it has become one.

        Args:
            on_bytes: What a tunnel calls when it has moved some.

        Raises:
            ServiceError: There is no answer, and the client has got none.
            CutError: The answer broke off.
            ClientDisconnect: The client went away.
        """
        try:
            answer = await self._ask()
            if isinstance(answer, h11.InformationalResponse):
                return self._join(answer, on_bytes)
            await self._pass_on(answer)
        finally:
            if self._listener is not None and not self._listener.cancel():
                self._listener.result()
            if self._connection is not None:
                self._opener.give_back(self._connection)
        return None

    def abort(self) -> None:
        """Break the exchange off."""
        if self._connection is not None:
            self._connection.close()

    async def _ask(self) -> h11.Response | h11.InformationalResponse:
        """Send the request and return the head of the answer.

        A program may just have closed a connection that rested: what can be repeated is, and what
        cannot never takes such a connection.
        """
        fresh = not self._repeatable or self._websocket
        while True:
            connection = self._connection = await self._opener.take(fresh=fresh)
            connection.send_head(self._request)
            if not self._has_body:
                connection.end_body()
            if self._listener is None:
                self._listener = asyncio.create_task(self._listen())
            try:
                return await self._head(connection)
            except BrokenError as error:
                connection.close()
                if self._deserted:
                    raise ClientDisconnect from error
                if not connection.rested or connection.answered:
                    raise BadGatewayError(self._problem(str(error))) from error
            fresh = True

    async def _head(self, connection: PortConnection) -> h11.Response | h11.InformationalResponse:
        try:
            async with asyncio.timeout(self._timeout) as self._deadline:
                return await connection.head(self._on_continue)
        except TimeoutError as error:
            text = f"What listens on port {self._address.number} did not answer in time."
            raise GatewayTimeoutError(text) from error
        finally:
            self._deadline = None

    def _on_continue(self) -> None:
        if self._asked is not None:
            self._asked.set()

    async def _listen(self) -> None:
        """Pass on the body of the request, and notice when the client goes away."""
        if self._asked is not None:
            with contextlib.suppress(TimeoutError):  # many programs do not know this question
                async with asyncio.timeout(_PATIENCE):
                    _ = await self._asked.wait()
        wanted = self._has_body and not self._declined
        self._reading = True
        while (message := await self._client.receive())["type"] == "http.request":
            connection = self._connection
            if wanted and connection is not None:
                if body := message.get("body", b""):
                    await connection.send_body(body)
                if not message.get("more_body", False):
                    connection.end_body()
                    wanted = False
            if self._deadline is not None and not self._deadline.expired():
                self._deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)
        if not self._complete:
            self._deserted = True
            self.abort()

    async def _pass_on(self, answer: h11.Response) -> None:
        assert self._connection is not None
        status = answer.status_code
        if status > 599:
            raise BadGatewayError(self._problem(f"there is no HTTP status {status}"))
        headers = answer_headers(status, answer.headers, self._address, self._client.origin.scheme)
        if not self._reading:
            self._declined = True
            # Whether the body comes all the same is the client's to decide, and cannot be known.
            headers.append((b"connection", b"close"))
        self.begun = True
        await self._client.send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        if self._asked is not None:
            self._asked.set()
        while not self._complete:
            try:
                data, self._complete = await self._connection.body()
            except BrokenError as error:
                raise ClientDisconnect if self._deserted else CutError from error
            await self._client.send(
                {"type": "http.response.body", "body": data, "more_body": not self._complete}
            )

    def _join(self, answer: h11.InformationalResponse, on_bytes: Callable[[], None]) -> Tunnel:
        """Turn the exchange into a tunnel."""
        assert self._connection is not None
        headers = answer_headers(101, answer.headers, self._address, self._client.origin.scheme)
        upgrades = [value.lower() for name, value in answer.headers if name == b"upgrade"]
        if upgrades != [b"websocket"]:
            raise BadGatewayError(self._problem("it changes to another protocol than WebSocket"))
        headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        tunnel = Tunnel(on_bytes)
        connection, self._connection = self._connection, None
        try:
            client, early = self._client.connection.take_over(tunnel.client)
        except ConnectionError as error:
            connection.close()
            raise ClientDisconnect from error
        self.begun = True
        port, late = connection.change_protocol(tunnel.port)
        lines = [b"HTTP/1.1 101 Switching Protocols", *(b"%s: %s" % pair for pair in headers)]
        client.write(b"\r\n".join(lines) + b"\r\n\r\n" + late)
        port.write(early)
        tunnel.join(client, port)
        return tunnel

    def _problem(self, text: str) -> str:
        return f"What listens on port {self._address.number} gave no answer: {text}."
