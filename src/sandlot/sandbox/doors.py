"""HTTP clients of the programs that listen in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._flow import Port
from .._transport import AsyncTransport, Transport

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncDoors", "Doors"]


class Doors:
    """A client for each port that was asked for, closed together."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._clients: dict[Port, httpx.Client] = {}

    def client(self, port: Port) -> httpx.Client:
        """Return the client of a port."""
        client = self._clients.get(port)
        if client is None or client.is_closed:
            client = self._clients[port] = self._transport.port_client(port)
        return client

    def close(self) -> None:
        """Close them all."""
        while self._clients:
            _, client = self._clients.popitem()
            client.close()


class AsyncDoors:
    """A client for each port that was asked for, closed together."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._clients: dict[Port, httpx.AsyncClient] = {}

    def client(self, port: Port) -> httpx.AsyncClient:
        """Return the client of a port."""
        client = self._clients.get(port)
        if client is None or client.is_closed:
            client = self._clients[port] = self._transport.port_client(port)
        return client

    async def close(self) -> None:
        """Close them all."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()
