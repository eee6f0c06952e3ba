"""HTTP as uvicorn speaks it, with what it lacks."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .errors import error_response
from .proxy.addresses import PortAddress, find_address
from .proxy.client import EXTENSION

__all__ = ["HttpProtocol"]

_MOST_EARLY = 64 << 10


class HttpProtocol(HttpToolsProtocol):
    """HTTP whose refusals have the contract's body, and whose connections can become tunnels.

    A WebSocket to a port of a sandbox is an ordinary request at first, for the proxy to answer:
    what is then said on it is not for this server to read.
    """

    _address: PortAddress | None = None
    _early: bytearray | None = None

    def data_received(self, data: bytes) -> None:
        """Take what the client says; after it has asked for a tunnel, for others to read."""
        if self._early is None:
            super().data_received(data)
            return
        self._early += data
        if len(self._early) > _MOST_EARLY:
            self.flow.pause_reading()

    def on_headers_complete(self) -> None:
        """Begin to serve a request."""
        super().on_headers_complete()
        self._address = find_address(self.headers)
        if self._address is not None:
            self.scope["extensions"] = {EXTENSION: self._describe(self._address)}
            self.cycle.default_headers = []  # the date among them, which the answer may have

    def take_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Leave the connection to another protocol, from the request at hand on."""
        if self.cycle.disconnected or self.transport.is_closing():
            raise ConnectionAbortedError("the client is gone")
        self.connections.discard(self)
        self.cycle.response_started = self.cycle.response_complete = True
        self.transport.pause_reading()
        self.transport.set_protocol(protocol)
        return self.transport, bytes(self._early or b"")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        response = error_response("invalid_request", msg, None)
        head = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"
        for name, value in response.raw_headers:
            head += name + b": " + value + b"\r\n"
        self.transport.write(head + b"\r\n" + bytes(response.body))
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return find_address(self.headers) is None and super()._should_upgrade()

    def _describe(self, address: PortAddress) -> dict[object, object]:
        return {"address": address, "connection": self, "target": self.url}

    def _unsupported_upgrade_warning(self) -> None:
        if self._address is not None:
            self._early = bytearray()
            self.cycle.keep_alive = False  # what follows is the tunnel's, or nobody's
        else:
            super()._unsupported_upgrade_warning()
