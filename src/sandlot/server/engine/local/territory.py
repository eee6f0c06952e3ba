"""The directory that an engine keeps its sandboxes in, which it shares with no other engine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from sandlot.server.engine.base import DirectoryUnavailableError
from sandlot.server.guest import removal, rendezvous

__all__ = ["Territory"]

_PATIENCE = 10.0


class Territory:
    """A data directory, locked.

    The lock is a descriptor that the zygote inherits: as long as anything of an earlier life is
    being cleared away, a new life waits. A zygote that has lost its server and keeps the sandboxes
    for the next one passes the lock on to it, so that there is never a time without a holder.

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

    async def enter(self) -> socket.socket | None:
        """Take the directory over and remove what an earlier life left in it.

        Returns:
            A connection to the zygote of an earlier life, if that keeps the directory for this one.

        Raises:
            DirectoryUnavailableError: It is in use, or cannot be used.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                connection = await self._take(lock)
                if connection is not None:
                    os.close(lock)
                    return connection
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
        return None

    def share(self, lock: int) -> None:
        """Hold the directory together with the zygote that has the lock and has passed it on."""
        self._lock = lock

    def let_go(self) -> None:
        """Leave the directory as it is to the zygote, which holds the lock still."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def clear(self, keep: Collection[str]) -> None:
        """Remove the directories of all sandboxes but these.

        Raises:
            OSError: They cannot be removed.
        """
        for path in await asyncio.to_thread(lambda: list(self.sandboxes.iterdir())):
            if path.name not in keep:
                await asyncio.to_thread(removal.remove_tree, str(path))

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

    async def _take(self, lock: int) -> socket.socket | None:
        """Take the lock, or else find who has it and would pass it on."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if (connection := self._find_zygote()) is not None:
                    return connection
                if time.monotonic() > deadline:
                    raise DirectoryUnavailableError(
                        "the data directory is in use by another server; stop that one or use"
                        " another directory"
                    ) from None
                await asyncio.sleep(0.02)
            else:
                return None

    def _find_zygote(self) -> socket.socket | None:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(rendezvous.address(directory))
        except OSError:  # nobody is there, or there is a crowd
            connection.close()
            return None
        finally:
            os.close(directory)
        return connection

    def _remembered(self) -> list[str]:
        try:
            notes = self._notes.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [path for path in notes if "/sandlot-" in path]
