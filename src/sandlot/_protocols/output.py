"""One stream of a command's output, as it comes in."""

from __future__ import annotations

from collections import deque

TAIL = 64 << 10
"""Bytes of each stream that are remembered for the error that may come."""


class Output:
    """One stream of output: cuts it at borders of characters and remembers its end."""

    __slots__ = ("_kept", "_recent", "_unfinished", "received")

    def __init__(self) -> None:
        self.received = 0
        self._unfinished = b""
        self._recent: deque[bytes] = deque()
        self._kept = 0

    def take(self, data: bytes) -> bytes:
        """Add what came; return what can be passed on."""
        self.received += len(data)
        if self._unfinished:
            data = self._unfinished + data
        border = _border(data)
        self._unfinished = data[border:]
        if border < len(data):
            data = data[:border]
        if data:
            self._remember(data)
        return data

    def flush(self) -> bytes:
        """Return what was held back."""
        rest, self._unfinished = self._unfinished, b""
        if rest:
            self._remember(rest)
        return rest

    def tail(self) -> str:
        """Return the end of it."""
        end = b"".join([*self._recent, self._unfinished])[-TAIL:]
        return end.decode(errors="replace")

    def _remember(self, data: bytes) -> None:
        self._recent.append(data)
        self._kept += len(data)
        while self._kept - len(self._recent[0]) >= TAIL:
            self._kept -= len(self._recent.popleft())

    def skip(self, offset: int) -> tuple[bytes, int]:
        """Go on at an offset; return what was held back and how many bytes are missing."""
        missing = offset - self.received
        self.received = offset
        return self.flush(), missing


def _border(data: bytes) -> int:
    """Return where to cut so that the last character, if unfinished, is held back.

    A byte that begins a character always begins one (RFC 3629, section 3), so cutting there never
    changes how the rest is read.
    """
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return len(data)
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < needed and byte < 0xF8 else len(data)
    return len(data)
