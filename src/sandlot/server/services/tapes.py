"""Output that is kept for those who read it later, or again: the latest of it, in bounded memory.

A tape is one process's. It is written to as output comes, and read by any number of readers, each
at its own place. When it is full, its oldest pieces are dropped, and a reader who had not come to
them finds a `Gap`. A reader may hold the tape: then nothing is dropped that it has not read, and
whoever writes waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sandlot.server.engine.base import Output, Stream

__all__ = ["Gap", "Piece", "Reader", "Shelf", "Stream", "Tape"]

_STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")
_LONGEST_PIECE = 64 << 10
_COST = 256  # bytes that a piece takes besides its data
_LIMIT = 1 << 20
_TOTAL = 64 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Output, and how many bytes of its stream came before it."""

    stream: Stream
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Output is missing: that of a stream up to this offset."""

    stream: Stream
    offset: int


class _Kept:
    """A piece on a tape; the last one grows."""

    __slots__ = ("data", "offset", "stream")

    def __init__(self, stream: Stream, offset: int) -> None:
        self.stream: Stream = stream
        self.offset = offset
        self.data = bytearray()


class Shelf:
    """All tapes, which together take no more than so many bytes, but for what readers hold.

    Args:
        limit: Bytes that one tape may take.
        total: Bytes that all may take.
    """

    def __init__(self, limit: int = _LIMIT, total: int = _TOTAL) -> None:
        self.limit = limit
        self._total = total
        self._tapes = set[Tape]()
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes that all tapes take."""
        return self._used

    def tape(self) -> Tape:
        """Return a new tape, to be given back by `remove`."""
        tape = Tape(self)
        self._tapes.add(tape)
        return tape

    def remove(self, tape: Tape) -> None:
        """Forget a tape; may be repeated."""
        if tape in self._tapes:
            self._tapes.remove(tape)
            self._used -= tape.used

    def note(self, tape: Tape, change: int) -> None:
        """Take note that a tape takes more or less, and make room if all take too much."""
        if tape not in self._tapes:
            return
        self._used += change
        while change > 0 and self._used > self._total:
            # Half of the largest at a time: looking for it costs more than shortening it.
            longest = max(self._tapes, key=lambda each: each.spare)
            if not longest.shorten(longest.spare // 2):
                return


class Tape:
    """The latest output of a process.

    Attributes:
        used: Bytes that it takes.
        finished: Nothing more will come.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.used = 0
        self.finished = False
        self._shelf = shelf
        self._first = 0
        self._pieces = deque[_Kept]()
        self._ends: dict[Stream, int] = dict.fromkeys(_STREAMS, 0)
        self._readers = set[Reader]()
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def ends(self) -> Mapping[Stream, int]:
        """Bytes of each stream so far."""
        return self._ends

    @property
    def spare(self) -> int:
        """Bytes that could be dropped."""
        return max(self.used - max((reader.lag for reader in self._readers), default=0), 0)

    def write(self, output: Output) -> None:
        """Add output, dropping the oldest if it is too much."""
        view = memoryview(output.data)
        change = 0
        while view:
            last = self._pieces[-1] if self._pieces else None
            if (
                last is None
                or last.stream != output.stream
                or len(last.data) >= _LONGEST_PIECE
                or last.offset + len(last.data) != self._ends[output.stream]
            ):
                last = _Kept(output.stream, self._ends[output.stream])
                self._pieces.append(last)
                change += _COST
            part = view[: _LONGEST_PIECE - len(last.data)]
            last.data += part
            self._ends[output.stream] += len(part)
            change += len(part)
            view = view[len(part) :]
        self._change(change)
        _ = self.shorten(self.used - self._shelf.limit)
        self._tell()

    def shorten(self, excess: int) -> bool:
        """Drop so many of the oldest bytes, unless they are held; return whether any were."""
        change = 0
        while change < excess and self._pieces and not self._is_held(self._pieces[0]):
            change += len(self._pieces.popleft().data) + _COST
            self._first += 1
        if change:
            self._change(-change)
        return change > 0

    def finish(self) -> None:
        """Say that nothing more will come."""
        self.finished = True
        self._tell()

    async def room(self) -> None:
        """Wait until those who hold the tape have read most of it."""
        while any(reader.lag > self._shelf.limit // 2 for reader in self._readers):
            self._room.clear()
            _ = await self._room.wait()

    def reader(self, offsets: Mapping[Stream, int] | None = None, *, hold: bool = False) -> Reader:
        """Return a reader that begins at these offsets, or with what comes from now on."""
        reader = Reader(self, self._ends if offsets is None else offsets, hold=hold)
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader; may be repeated."""
        self._readers.discard(reader)
        self.make_way()

    def make_way(self) -> None:
        """Tell who writes that somebody has read on, or holds the tape no more."""
        self._room.set()

    async def wait_news(self) -> None:
        """Wait until there is more, or never will be."""
        if not self.finished:
            _ = await self._news.wait()

    def look(self, index: int) -> tuple[int, Stream, int, bytearray] | None:
        """Return a piece by its number, or the oldest after it, with its number."""
        index = max(index, self._first)
        place = index - self._first
        if place >= len(self._pieces):
            return None
        kept = self._pieces[place]
        return index, kept.stream, kept.offset, kept.data

    def _is_held(self, kept: _Kept) -> bool:
        end = kept.offset + len(kept.data)
        return any(each.holding and each.done[kept.stream] < end for each in self._readers)

    def _change(self, change: int) -> None:
        self.used += change
        self._shelf.note(self, change)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Reader:
    """A place on a tape.

    Attributes:
        seen: Bytes of each stream that were read.
        done: Those that need not be read again. Who acknowledges says so by `acknowledge`;
            otherwise it is what has been read.
        holding: Whether what it has not done with is kept for it.
    """

    def __init__(self, tape: Tape, offsets: Mapping[Stream, int], *, hold: bool) -> None:
        self._tape = tape
        self._index = 0
        self.seen = dict(offsets)
        self.done = dict(offsets)
        self.holding = hold
        self.acknowledges = False

    @property
    def lag(self) -> int:
        """Bytes that it keeps from being dropped."""
        return sum(self._tape.ends.values()) - sum(self.done.values()) if self.holding else 0

    def release(self) -> None:
        """Hold the tape no more."""
        self.holding = False
        self._tape.make_way()

    def acknowledge(self, offsets: Mapping[Stream, int]) -> None:
        """Take note that so many bytes of each stream have arrived."""
        for stream, offset in offsets.items():
            self.done[stream] = min(max(offset, self.done[stream]), self.seen[stream])
        self._tape.make_way()

    async def read(self) -> Piece | Gap | None:
        """Return what comes next, None after the end."""
        if not self.acknowledges:
            self.done = dict(self.seen)
            self._tape.make_way()
        while (found := self._take()) is None:
            if self._tape.finished:
                return self._last_gap()
            await self._tape.wait_news()
        return found

    def _take(self) -> Piece | Gap | None:
        while (found := self._tape.look(self._index)) is not None:
            self._index, stream, offset, data = found
            seen = self.seen[stream]
            if seen < offset:
                self.seen[stream] = offset
                return Gap(stream, offset)
            if seen < offset + len(data):
                self.seen[stream] = offset + len(data)
                return Piece(stream, seen, bytes(memoryview(data)[seen - offset :]))
            if self._tape.look(self._index + 1) is None:
                return None  # this one may grow
            self._index += 1
        return None

    def _last_gap(self) -> Gap | None:
        for stream, end in self._tape.ends.items():
            if self.seen[stream] < end:
                self.seen[stream] = end
                return Gap(stream, end)
        return None
