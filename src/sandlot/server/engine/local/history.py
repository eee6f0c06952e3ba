"""What has changed in a home since it was captured, and what was there before."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Mapping
from typing import Literal

from sandlot.server.engine.base import Change, Changes, EngineError, FileAccessError
from sandlot.server.guest import kernel, mounts, wire

from .captures import Captures
from .errands import Errands
from .files import LocalReader, problem
from .home import Home
from .layers import Layers
from .records import Record

__all__ = ["History"]

_MOST = 10_000
_SECONDS = 20.0
_LINGER = 5.0
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: Mapping[str, Literal["added", "modified", "deleted"]] = {
    "added": "added",
    "modified": "modified",
    "deleted": "deleted",
}
_TYPES: Mapping[str, Literal["file", "directory", "symlink", "other"]] = {
    "file": "file",
    "directory": "directory",
    "symlink": "symlink",
    "other": "other",
}


class History:
    """Compares homes with what they were.

    Args:
        captures: The homes.
        layers: What was captured.
        errands: What does the work.
    """

    def __init__(self, captures: Captures, layers: Layers, errands: Errands) -> None:
        self._captures = captures
        self._layers = layers
        self._errands = errands
        self._view: tuple[tuple[str, ...], int] | None = None
        self._closing: asyncio.TimerHandle | None = None

    async def changes(self, record: Record, snapshot_id: str | None) -> Changes:
        """Compare the home of a sandbox with a snapshot, or with what it began with.

        Raises:
            UnknownSnapshotError: There is no such snapshot.
            EngineError: They cannot be compared.
        """
        home = self._captures.home(record)
        base = self._base(home, snapshot_id)
        self._layers.hold((*base, *home.lower))
        try:
            answers = await self._compare(record, home, base)
        finally:
            self._layers.release((*base, *home.lower))
        rows = [row for answer in answers[:-1] for row in _rows(answer)]
        return Changes(rows, truncated=wire.boolean(answers[-1], "truncated"))

    async def open_base(self, record: Record, snapshot_id: str | None, path: str) -> LocalReader:
        """Open a regular file as it was in a snapshot, or in what the sandbox began with.

        Raises:
            UnknownSnapshotError: There is no such snapshot.
            FileAccessError: It has no such file.
        """
        home = self._captures.home(record)
        base = self._base(home, snapshot_id)
        if not base:
            raise problem(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if "\0" in path or not path:
            raise FileAccessError("invalid", "a path cannot be empty or contain NUL")
        view = await self._show(home, base)
        try:
            # Nothing can change in there, and links are not followed: what was sealed is opened.
            fd = kernel.open_beneath(view, path, _READ)
        except OSError as error:
            raise problem(error.errno or 0, error.strerror or str(error), path) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileAccessError("invalid", f"{path}: not a regular file")
        return LocalReader(fd, path)

    def close(self) -> None:
        """Let go of what was looked at last; may be repeated."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._view is not None:
            os.close(self._view[1])
            self._view = None

    def _base(self, home: Home, snapshot_id: str | None) -> tuple[str, ...]:
        if snapshot_id is None:
            return home.base
        snapshot = self._layers.get(snapshot_id)
        if snapshot.owner != home.owner:
            raise EngineError("a sandbox can be compared with its own snapshots only")
        return snapshot.layers

    async def _compare(
        self, record: Record, home: Home, base: tuple[str, ...]
    ) -> list[wire.Message]:
        bounds: wire.Message = {"most": _MOST, "seconds": _SECONDS}
        if not self._captures.share:
            old = self._layers.path(base[0]) if base else self._layers.nothing
            bounds = {**bounds, "sources": [str(old), str(home.upper)]}
            return (await self._errands.run("compare-copies", bounds))[0]
        try:
            home.admit()
        except OSError as error:
            raise EngineError(f"the files cannot be compared: {error.strerror}") from error
        common = _common_end(home.lower, base)
        changed = [f"l/{name}" for name in (*home.lower[:-common], *base[:-common])]
        if not common:
            changed = [f"l/{name}" for name in (*home.lower, *base)]
        old_stack = {**home.stack(), "lower": [f"l/{name}" for name in base], "upper": None}
        order: wire.Message = {
            "id": record.name,
            "uid": record.uid,
            "stack": old_stack,
            "changed": [f"s/{home.upper.name}", *changed],
            "home": mounts.HOME,
        }
        return (await self._errands.run("compare", {**order, **bounds}))[0]

    async def _show(self, home: Home, base: tuple[str, ...]) -> int:
        """Return a directory that shows layers, for as long as it is in use."""
        if self._view is None or self._view[0] != base:
            if self._captures.share:
                directory = str(self._layers.directory)
                stack = {
                    "layers": directory,
                    "place": directory,
                    "lower": [f"l/{name}" for name in base],
                    "owner": home.owner,
                }
                _, (view,) = await self._errands.run("view", {"stack": stack, "owner": home.owner})
            else:
                view = os.open(self._layers.path(base[0]), _DIRECTORY)
            self.close()
            self._view = (base, view)
        elif self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.get_running_loop().call_later(_LINGER, self.close)
        return self._view[1]


def _common_end(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Return how many items two chains have in common at their ends."""
    count = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        count += 1
    return count


def _rows(message: wire.Message) -> list[Change]:
    rows: list[Change] = []
    for row in wire.mappings(message, "changes"):
        kind, kind_of_file = _KINDS[wire.text(row, "kind")], _TYPES[wire.text(row, "type")]
        rows.append(Change(wire.text(row, "path"), kind, kind_of_file, wire.integer(row, "size")))
    return rows
