"""The directory that an engine keeps its sandboxes in, which it shares with no other engine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from sandlot.server.engine.base import DirectoryUnavailableError
from sandlot.server.guest import removal

__all__ = ["Territory"]

_PATIENCE = 10.0


class Territory:
    """A data directory, locked.

    The lock is a descriptor that the guests' keeper inherits: as long as anything of an earlier
    life is being cleared away, a new life waits.

    Args:
        path: The directory; it is made if it is not there.
        ephemeral: Whether it is removed in the end.
    """

    def __init__(self, path: Path, *, ephemeral: bool) -> None:
        self.path = path
        self.ephemeral = ephemeral
        self._lock: int | None = None

    @property
    def sandboxes(self) -> Path:
        """Directory with one directory for each sandbox."""
        return self.path / "sandboxes"

    @property
    def lock(self) -> int:
        """Descriptor that holds the lock."""
        if self._lock is None:
            raise RuntimeError("the engine has not been started")
        return self._lock

    async def enter(self) -> None:
        """Take the directory over and remove what an earlier life left in it.

        Raises:
            DirectoryUnavailableError: It is in use, or cannot be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                await _take(lock)
                await asyncio.to_thread(self._sweep)
                self.sandboxes.mkdir(mode=0o700)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise DirectoryUnavailableError(
                f"the data directory {self.path} cannot be used: {error.strerror}"
            ) from error
        self._lock = lock

    def remember(self, cgroups: Sequence[Path]) -> str:
        """Choose a name for cgroups and note it, for a next life to remove what this one leaves."""
        name = f"sandlot-{secrets.token_hex(8)}"
        draft = self._notes.with_suffix(".new")
        _ = draft.write_text("\n".join(f"{parent}/{name}" for parent in cgroups))
        _ = draft.replace(self._notes)
        return name

    async def leave(self) -> None:
        """Remove all sandboxes, or the whole directory if it is ephemeral, and let go of it."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            await asyncio.to_thread(self._sweep)
            if self.ephemeral:
                await asyncio.to_thread(removal.remove_tree, str(self.path))
        finally:
            os.close(lock)

    @property
    def _notes(self) -> Path:
        return self.path / "cgroups"

    def _sweep(self) -> None:
        for cgroup in self._remembered():
            removal.remove_cgroup(cgroup)
        self._notes.unlink(missing_ok=True)
        removal.remove_tree(str(self.sandboxes))

    def _remembered(self) -> list[str]:
        try:
            notes = self._notes.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [path for path in notes if "/sandlot-" in path]


async def _take(lock: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DirectoryUnavailableError(
                    "the data directory is in use by another server; stop that one or use another"
                    " directory"
                ) from None
            await asyncio.sleep(0.02)
        else:
            return
