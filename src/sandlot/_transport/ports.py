"""Reaching TCP ports in sandboxes: the server passes on what is addressed to a port's own name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from .._flow import Port
from ..errors import AuthenticationError

__all__ = ["AsyncPortTransport", "Door", "PortTransport", "credentials"]

_KEY_HEADER = "X-API-Key"


@dataclass(frozen=True, slots=True)
class Door:
    """Where a port of a sandbox is reached.

    Attributes:
        name: Its public address; a path that the server's own address has is not part of it.
        at: Where to connect, if not where the name says. Without TLS that is the server, so that no
            name server has to know the names of ports. With TLS the name decides on the
            certificate, and has to be known.
    """

    name: httpx.URL
    at: httpx.URL | None

    @classmethod
    def of(cls, base_url: str | httpx.URL, port: Port) -> Door:
        """Return where a server lets one reach a port."""
        base = httpx.URL(base_url)
        # No name can begin a numeric IPv6 address.
        domain = "localhost" if ":" in base.host else base.host
        host = f"{port.number}-{port.sandbox_id}.{domain}"
        name = httpx.URL(scheme=base.scheme, host=host, port=base.port, path="/")
        return cls(name, None if base.scheme == "https" else base.copy_with(path="/"))

    @property
    def host(self) -> str:
        """The header that names it."""
        return self.name.netloc.decode("ascii")

    def url(self, path: str) -> httpx.URL:
        """Return what to connect to for a path."""
        return (self.at or self.name).join(path)

    def leads_to(self, url: httpx.URL) -> bool:
        """Tell whether a URL is one of this port."""
        return (url.scheme, url.netloc) == (self.name.scheme, self.name.netloc)


def credentials(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a client's headers that open a port.

    Raises:
        AuthenticationError: There is only a token, which opens none (wrenn: API keys only).
    """
    if _KEY_HEADER not in headers and "Authorization" in headers:
        raise AuthenticationError(
            "ports of sandboxes are opened by an API key only, and this client has only a token;"
            " nothing was sent",
            code="unauthorized",
            status_code=401,
        )
    return {_KEY_HEADER: headers[_KEY_HEADER]} if _KEY_HEADER in headers else {}


class _Addressing:
    """Addresses requests to one port, and to nothing else."""

    def __init__(self, door: Door, headers: Mapping[str, str]) -> None:
        self._door = door
        self._headers = headers

    def _addressed(self, request: httpx.Request) -> httpx.Request:
        if not self._door.leads_to(request.url):
            raise httpx.UnsupportedProtocol(
                f"this client is for {self._door.name} only, since it sends the API key along",
                request=request,
            )
        headers = httpx.Headers(request.headers)
        headers["Host"] = self._door.host
        headers.update(self._headers)
        at = self._door.at or self._door.name
        return httpx.Request(
            request.method,
            request.url.copy_with(host=at.host, port=at.port),
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )


class PortTransport(_Addressing, httpx.BaseTransport):
    """Sends what is for one port through a client of the server, blocking."""

    def __init__(
        self, door: Door, headers: Mapping[str, str], server: Callable[[], httpx.Client]
    ) -> None:
        super().__init__(door, headers)
        self._server = server

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        answer = self._server().send(self._addressed(request), stream=True)
        return _passed_on(answer)


class AsyncPortTransport(_Addressing, httpx.AsyncBaseTransport):
    """Sends what is for one port through a client of the server, awaiting."""

    def __init__(
        self,
        door: Door,
        headers: Mapping[str, str],
        server: Callable[[], Awaitable[httpx.AsyncClient]],
    ) -> None:
        super().__init__(door, headers)
        self._server = server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        http = await self._server()
        return _passed_on(await http.send(self._addressed(request), stream=True))


def _passed_on(answer: httpx.Response) -> httpx.Response:
    """Return a response whose body has not been decoded: the client that asked does that."""
    return httpx.Response(
        answer.status_code,
        headers=answer.headers,
        stream=answer.stream,
        extensions=answer.extensions,
    )
