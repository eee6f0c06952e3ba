"""Connections between requests, which the next request to the same port may use."""

from __future__ import annotations

import asyncio

from sandlot.server.services.live import LiveSandbox
from sandlot.server.services.ports import connect

from .connections import PortConnection

__all__ = ["Pool"]

_REST = 4.0
"""Seconds that a connection rests: less than the keep-alive of common servers (5 s), so that it is
seldom them who end it."""

_MOST_RESTING = 32  # of one port

_Port = tuple[str, int]


class Pool:
    """Resting connections of all ports of all sandboxes.

    Args:
        timeout: Seconds that a connection may take to be made.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._resting: dict[_Port, list[PortConnection]] = {}
        self._timers: dict[PortConnection, asyncio.TimerHandle] = {}

    async def take(self, live: LiveSandbox, port: int, *, fresh: bool) -> PortConnection:
        """Return a connection.

        Args:
            live: The sandbox.
            port: Its port.
            fresh: Whether it must be a new one, which its program cannot be about to close.
        """
        key = (live.record.id, port)
        while not fresh and (resting := self._resting.get(key)):
            connection = resting[-1]
            self._forget(key, connection)
            if connection.open:
                return connection
        made: list[PortConnection] = []

        def make() -> PortConnection:
            made.append(PortConnection())
            return made[-1]

        _ = await connect(live, port, make, self._timeout)
        return made[-1]

    def give_back(self, live: LiveSandbox, port: int, connection: PortConnection) -> None:
        """Let a connection rest that has served its request; or close it."""
        key = (live.record.id, port)
        resting = self._resting.get(key, [])
        if not connection.reusable or len(resting) >= _MOST_RESTING:
            connection.close()
            return
        self._resting[key] = resting
        connection.rest()
        connection.on_lost = lambda: self._forget(key, connection)
        resting.append(connection)
        timer = asyncio.get_running_loop().call_later(_REST, connection.close)
        self._timers[connection] = timer

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._timers):
            connection.close()

    def _forget(self, key: _Port, connection: PortConnection) -> None:
        connection.on_lost = None
        self._timers.pop(connection).cancel()
        resting = self._resting[key]
        resting.remove(connection)
        if not resting:
            del self._resting[key]
