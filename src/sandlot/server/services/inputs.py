"""Input on its way to a command: taken from a client in order, and no more than a window of it."""

from __future__ import annotations

import asyncio
from typing import Final

from .errors import InvalidRequestError

__all__ = ["Input"]

WINDOW: Final = 1 << 20
"""Bytes of input that may be on their way, unacknowledged."""


class Input:
    """What a command is given to read.

    Attributes:
        received: Bytes that have come from the client.
        taken: Bytes of these that the command has taken.
    """

    def __init__(self) -> None:
        self.received = 0
        self.taken = 0
        self._pieces = asyncio.Queue[bytes | None]()
        self._closed = False
        self._news = asyncio.Event()

    def put(self, offset: int, data: bytes) -> None:
        """Add what the client sent.

        Raises:
            InvalidRequestError: The client does not keep to the protocol.
        """
        if self._closed:
            raise InvalidRequestError("Input came after stdin_close.")
        if offset != self.received:
            raise InvalidRequestError(
                f"Input at offset {offset} came where {self.received} was due."
            )
        self.received += len(data)
        if self.received - self.taken > WINDOW:
            raise InvalidRequestError(f"More than {WINDOW} bytes of input are unacknowledged.")
        if data:
            self._pieces.put_nowait(data)

    async def room(self) -> None:
        """Wait until the command has taken most of it."""
        while self.received - self.taken > WINDOW // 2:
            _ = await self.more_taken(self.taken)

    def close(self) -> None:
        """Add the end of the input; may be repeated."""
        if not self._closed:
            self._closed = True
            self._pieces.put_nowait(None)

    async def get(self) -> bytes | None:
        """Return the next piece, None at the end."""
        return await self._pieces.get()

    def take(self, count: int) -> None:
        """Note that the command has taken that many bytes."""
        self.taken += count
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def more_taken(self, than: int) -> int:
        """Wait until the command has taken more than so many bytes; return how many."""
        while self.taken <= than:
            _ = await self._news.wait()
        return self.taken
