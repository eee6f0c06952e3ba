"""Who sent a request: its ASGI side, and what ASGI has no words for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.types import Receive, Scope, Send

from .addresses import PortAddress
from .headers import Headers, Origin

__all__ = ["EXTENSION", "Client", "ClientConnection", "is_for_port"]

EXTENSION: Final = "sandlot.connection"
"""An extension of scopes, present if a request is addressed to a port.

`address` is the `PortAddress`, `connection` the `ClientConnection` that the request came by, and
`target` the bytes that it names the resource with.
"""


def is_for_port(scope: Scope) -> bool:
    """Tell whether a request is addressed to a port of a sandbox."""
    return EXTENSION in scope.get("extensions", ())


class ClientConnection(Protocol):
    """A connection that requests come from."""

    def take_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Leave the connection to another protocol, from the request at hand on.

        It does not read, so that nothing is lost before the other is ready.

        Returns:
            The connection, and what has come in of it since the request.

        Raises:
            ConnectionError: It is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Client:
    """A request, as ASGI has it."""

    scope: Scope
    receive: Receive
    send: Send

    @property
    def method(self) -> str:
        """Its method."""
        method: str = self.scope["method"]
        return method

    @property
    def headers(self) -> Headers:
        """Its headers, with names in small letters."""
        headers: Headers = self.scope["headers"]
        return headers

    @property
    def origin(self) -> Origin:
        """Where it comes from."""
        peer: tuple[str, int] | None = self.scope.get("client")
        secure = self.scope["scheme"] in ("https", "wss")  # of the proxy in front, if there is one
        return Origin(None if peer is None else peer[0], "https" if secure else "http")

    @property
    def address(self) -> PortAddress:
        """The port that it is addressed to."""
        address: PortAddress = self._extension["address"]
        return address

    @property
    def connection(self) -> ClientConnection:
        """The connection it came by."""
        connection: ClientConnection = self._extension["connection"]
        return connection

    @property
    def target(self) -> bytes:
        """What it is for: the very bytes, unless they name the server too (RFC 9112, 3.2.2)."""
        target: bytes = self._extension["target"]
        if target.startswith((b"/", b"*")):
            return target
        path: bytes = self.scope["raw_path"] or b"/"
        query: bytes = self.scope["query_string"]
        return path + b"?" + query if query else path

    @property
    def _extension(self) -> dict[str, Any]:
        extension: dict[str, Any] = self.scope["extensions"][EXTENSION]
        return extension
