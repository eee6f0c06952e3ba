"""What a cell leaves behind, as a notebook would show it, within limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from ..executions import CodeError, CodeOutput, CodeText, Result

MAX_OUTPUT_BYTES = 10 << 20
"""Bytes of each stream that are kept unless told otherwise."""
MAX_RESULTS = 1_000
"""Results that are kept."""
MAX_RESULT_BYTES = 100 << 20
"""Bytes of results that are kept, all of them together, as they travelled."""

_Stream: TypeAlias = Literal["stdout", "stderr"]


@dataclass(slots=True)
class _Printed:
    stream: _Stream
    pieces: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Shown:
    output: Result | CodeError
    size: int


class Outputs:
    """Collects outputs; what is beyond the limits is discarded, and `truncated` says so."""

    def __init__(self, max_stream_bytes: int) -> None:
        self._limit = max_stream_bytes
        self._clear_first = False
        self._reset()

    def _reset(self) -> None:
        self.truncated = False
        self._entries: list[_Printed | _Shown] = []
        self._room: dict[_Stream, int] = {"stdout": self._limit, "stderr": self._limit}
        self._shown = 0
        self._shown_bytes = 0

    def add(self, output: CodeOutput, size: int) -> None:
        """Take an output; `size` is how many bytes it travelled in."""
        if self._clear_first:
            self.clear(wait=False)
        if isinstance(output, CodeText):
            self._print(output.stream, output.text)
        elif self._shown < MAX_RESULTS and self._shown_bytes + size <= MAX_RESULT_BYTES:
            self._entries.append(_Shown(output, size))
            self._shown += 1
            self._shown_bytes += size
        else:
            self.truncated = True

    def update(self, result: Result, size: int) -> bool:
        """Change what was shown under its `display_id`, and say if anything was."""
        entries = [
            entry
            for entry in self._entries
            if isinstance(entry, _Shown)
            and isinstance(entry.output, Result)
            and entry.output.display_id == result.display_id
        ]
        for entry in entries:
            if self._shown_bytes - entry.size + size > MAX_RESULT_BYTES:
                self.truncated = True
                continue
            self._shown_bytes += size - entry.size
            entry.size = size
            entry.output = replace(
                result, is_main=isinstance(entry.output, Result) and entry.output.is_main
            )
        return bool(entries)

    def clear(self, *, wait: bool) -> None:
        """Forget everything, now or when the next output comes."""
        self._clear_first = wait
        if not wait:
            self._reset()

    def all(self) -> tuple[CodeOutput, ...]:
        """Return them, in order."""
        return tuple(
            CodeText(entry.stream, "".join(entry.pieces))
            if isinstance(entry, _Printed)
            else entry.output
            for entry in self._entries
        )

    def _print(self, stream: _Stream, text: str) -> None:
        kept = _cut(text, self._room[stream])
        if len(kept) < len(text):
            self.truncated = True
            self._room[stream] = 0
        else:
            self._room[stream] -= len(kept) if kept.isascii() else _bytes(kept)
        if not kept:
            return
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, _Printed) or last.stream != stream:
            last = _Printed(stream)
            self._entries.append(last)
        last.pieces.append(kept)


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _cut(text: str, room: int) -> str:
    """Return the beginning of a text that fits into that many bytes of UTF-8."""
    if len(text) <= room // 4 or _bytes(text) <= room:
        return text
    return text.encode(errors="surrogatepass")[:room].decode(errors="ignore")
