"""What all resources have in common."""

from __future__ import annotations

from ._transport import AsyncTransport, Transport


class Resource:
    """Operations that block."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._run = transport.run
        self._server = transport.server

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._transport.where}>"


class AsyncResource:
    """Operations that are awaited."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._run = transport.run
        self._server = transport.server

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._transport.where}>"
