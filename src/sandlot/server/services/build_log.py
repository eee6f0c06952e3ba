"""The log of a build: steps, and what they wrote, in order.

A place in it is a number of characters: what was written is never changed, so that whoever has read
up to a place goes on from there. What is too much is not kept, and the log says so.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

__all__ = ["BuildLog", "Piece", "Step"]

_MOST = 1 << 20
"""Characters of a log."""
_MOST_OF_A_STEP = 256 << 10
_MOST_PIECES = 20_000
"""Each change between streams begins a piece: a log of many small ones would be slow to read."""
_TAIL = 2000
_FULL = "\n[More was written than the log of a build has room for.]\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a step wrote.

    Attributes:
        stream: `command` for the instruction itself, else `stdout` or `stderr`.
    """

    step: int
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has ended, or still runs.

    Attributes:
        phase: `recipe`, or `post-build` for what follows the recipe.
        line: Its line of the recipe, counted from 1; 0 outside of it.
        exit: Exit code; -1 where there is none.
    """

    step: int
    phase: str
    line: int
    cmd: str
    exit: int | None = None
    ok: bool | None = None
    elapsed_ms: int = 0


@dataclass
class _Content:
    steps: list[Step] = field(default_factory=list[Step])
    pieces: list[Piece] = field(default_factory=list[Piece])


_content = TypeAdapter(_Content)


class BuildLog:
    """A log that grows.

    Attributes:
        changed: Whether it has changed since it was last saved.
    """

    def __init__(self, content: str | None = None) -> None:
        self._content = _Content() if content is None else _content.validate_json(content)
        self._size = sum(len(piece.text) for piece in self._content.pieces)
        self._left = 0
        self._full = False
        self._tail = ""
        self._decoders = _decoders()
        self._news = asyncio.Event()
        self.changed = False

    @property
    def steps(self) -> Sequence[Step]:
        """The steps so far."""
        return self._content.steps

    @property
    def size(self) -> int:
        """How many characters there are."""
        return self._size

    @property
    def tail(self) -> str:
        """The last of what the last step wrote, whether or not there was room for it."""
        return self._tail

    def dump(self) -> str:
        """Return all of it as a text, which makes a log again."""
        self.changed = False
        return _content.dump_json(self._content).decode()

    def begin(self, phase: str, line: int, cmd: str) -> int:
        """Begin a step, and return its number."""
        number = len(self.steps) + 1
        self._content.steps.append(Step(number, phase, line, cmd))
        self._left = _MOST_OF_A_STEP
        self._full = False
        self._tail = ""
        self._decoders = _decoders()
        self._append("command", cmd)
        return number

    def write(self, stream: str, data: bytes) -> None:
        """Add what the running step wrote."""
        self._write(stream, self._decoders[stream].decode(data))

    def end(self, exit: int, *, ok: bool, elapsed_ms: int) -> None:
        """End the running step."""
        for stream, decoder in self._decoders.items():
            self._write(stream, decoder.decode(b"", final=True))
        last = self._content.steps[-1]
        self._content.steps[-1] = replace(last, exit=exit, ok=ok, elapsed_ms=elapsed_ms)
        self._changed()

    def close(self) -> None:
        """Let those go on who wait for more."""
        self._changed()

    def read(self, offset: int, limit: int) -> Sequence[Piece]:
        """Return what begins at a place, so many characters of it at most."""
        found: list[Piece] = []
        at = 0
        for piece in self._content.pieces:
            start = max(offset - at, 0)
            at += len(piece.text)
            if start < len(piece.text) and limit > 0:
                text = piece.text[start : start + limit]
                limit -= len(text)
                found.append(replace(piece, text=text))
        return found

    def outputs(self) -> Mapping[tuple[int, str], str]:
        """Return all that was written, by step and stream."""
        found = defaultdict[tuple[int, str], list[str]](list)
        for piece in self._content.pieces:
            found[piece.step, piece.stream].append(piece.text)
        return {place: "".join(texts) for place, texts in found.items()}

    async def wait(self, offset: int, seconds: float) -> None:
        """Wait for something to come after a place, or for a change that means the end."""
        try:
            async with asyncio.timeout(seconds):
                if self._size <= offset:
                    _ = await self._news.wait()
        except TimeoutError:
            return

    def _write(self, stream: str, text: str) -> None:
        if not text:
            return
        self._tail = (self._tail + text)[-_TAIL:]
        room = max(0, min(self._left, _MOST - self._size))
        self._left -= len(text)
        if len(text) <= room and len(self._content.pieces) < _MOST_PIECES:
            self._append(stream, text)
        elif not self._full:
            self._full = True
            self._append(stream, text[:room] + _FULL)

    def _append(self, stream: str, text: str) -> None:
        pieces, step = self._content.pieces, len(self.steps)
        if pieces and (pieces[-1].step, pieces[-1].stream) == (step, stream):
            # Growing one text would copy it each time: only small ones are put together.
            if len(pieces[-1].text) < _TAIL:
                pieces[-1] = replace(pieces[-1], text=pieces[-1].text + text)
            else:
                pieces.append(Piece(step, stream, text))
        else:
            pieces.append(Piece(step, stream, text))
        self._size += len(text)
        self._changed()

    def _changed(self) -> None:
        self.changed = True
        self._news.set()
        self._news = asyncio.Event()


def _decoders() -> dict[str, codecs.IncrementalDecoder]:
    make = codecs.getincrementaldecoder("utf-8")
    return {stream: make(errors="replace") for stream in ("stdout", "stderr")}
