"""The past of one sandbox: capturing its files, telling what changed, going back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from sandlot.server.engine.base import Changes, FileReader, SnapshotSize

from .agent import AgentClient
from .captures import Captures
from .history import History
from .records import Record
from .sentry import Sentry

__all__ = ["Past"]


class Past:
    """What `LocalSandbox` has to do with what was captured.

    Args:
        record: The sandbox.
        captures: What captures.
        history: What compares.
        renew: Kills all in the sandbox and starts it with the files of a snapshot.
    """

    def __init__(
        self,
        record: Record,
        captures: Captures,
        history: History,
        renew: Callable[[str], Awaitable[tuple[AgentClient, Sentry]]],
    ) -> None:
        self._record = record
        self._captures = captures
        self._history = history
        self._renew = renew

    @property
    def directory(self) -> Path:
        """Where the sandbox's own files are on the host."""
        return self._captures.home(self._record).upper

    async def capture(self, snapshot_id: str, *, stop: bool) -> Awaitable[SnapshotSize]:
        """Make a snapshot; see `Captures.capture`."""
        return await self._captures.capture(self._record, snapshot_id, stop=stop)

    def forget(self, snapshot_id: str) -> None:
        """Remove a snapshot that nobody has heard of."""
        self._captures.forget(snapshot_id)

    async def go_back(self, snapshot_id: str) -> tuple[AgentClient, Sentry]:
        """Start the sandbox anew; return its new agent, which answers, and who looks after it.

        Raises:
            UnknownSnapshotError: There is no such snapshot; nothing was done.
            EngineError: It could not be done. If that was too late to do nothing, the sandbox is
                gone.
        """
        return await self._renew(snapshot_id)

    async def changes(self, snapshot_id: str | None) -> Changes:
        """Compare; see `History.changes`."""
        return await self._history.changes(self._record, snapshot_id)

    async def open(self, snapshot_id: str | None, path: str) -> FileReader:
        """Open an old file; see `History.open_base`."""
        return await self._history.open_base(self._record, snapshot_id, path)
