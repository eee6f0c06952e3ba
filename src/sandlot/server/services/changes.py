"""What has changed in a sandbox, told with diffs."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sandlot.server.engine.base import Change, EngineError, FileReader

from .live import LiveSandbox
from .problems import engine_errors

__all__ = ["ChangedFile", "ChangeReport", "report"]

_MAX_BYTES = 128 << 10
_MAX_LINES = 1000
_MAX_FILES = 500
_BUDGET = 2.0
"""Seconds that may go into comparing texts; which take long is the sandbox's choice."""


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that differs, and how, if it is and was text that is not too long."""

    change: Change
    diff: str | None


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """What differs, in order of paths."""

    files: Sequence[ChangedFile]
    truncated: bool


async def report(live: LiveSandbox, since: str | None, *, with_diff: bool) -> ChangeReport:
    """Compare the files of a sandbox with a checkpoint, or with what it began with.

    Diffs are told of running sandboxes only: nothing can be opened in a paused one.
    """
    with live.active(), engine_errors():
        changes = await live.handle.changes(since)
        differ = _Differ(live, since) if with_diff and live.record.status == "running" else None
        files: list[ChangedFile] = []
        for change in changes.changes:
            diff = None if differ is None else await differ.compare(change)
            files.append(ChangedFile(change, diff))
    return ChangeReport(files, changes.truncated)


class _Differ:
    """Compares texts until time or patience is used up."""

    def __init__(self, live: LiveSandbox, since: str | None) -> None:
        self._handle = live.handle
        self._since = since
        self._files = _MAX_FILES
        self._seconds = _BUDGET

    async def compare(self, change: Change) -> str | None:
        """Return how a file differs; None if it is no text or there is no time."""
        if change.type != "file" or self._files <= 0 or self._seconds <= 0:
            return None
        self._files -= 1
        try:
            before = await self._before(change)
            after = await self._after(change)
        except EngineError:
            return None  # it has changed or gone meanwhile
        if before is None or after is None:
            return None
        begin = time.monotonic()
        try:
            return await asyncio.to_thread(_diff, change, before, after)
        finally:
            self._seconds -= time.monotonic() - begin

    async def _before(self, change: Change) -> list[str] | None:
        if change.kind == "added":
            return []
        return await _lines(await self._handle.open_base(self._since, change.path))

    async def _after(self, change: Change) -> list[str] | None:
        if change.kind == "deleted":
            return []
        return await _lines(await self._handle.open_reader(change.path))


async def _lines(reader: FileReader) -> list[str] | None:
    """Return the lines of a text; None if it is none, or too long."""
    content = bytearray()
    try:
        while len(content) <= _MAX_BYTES and (piece := await reader.read(_MAX_BYTES + 1)):
            content += piece
    finally:
        await reader.close()
    if len(content) > _MAX_BYTES or b"\0" in content:
        return None
    try:
        lines = content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
    return lines if len(lines) <= _MAX_LINES else None


def _diff(change: Change, before: list[str], after: list[str]) -> str:
    path = change.path.encode(errors="surrogateescape").decode(errors="replace")
    old = "/dev/null" if change.kind == "added" else f"a/{path}"
    new = "/dev/null" if change.kind == "deleted" else f"b/{path}"
    lines = difflib.unified_diff(before, after, old, new)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
