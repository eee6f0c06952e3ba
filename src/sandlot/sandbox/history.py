"""The files of a sandbox at other times, and in other sandboxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .. import models
from .._operations import snapshots
from .lifecycle import AsyncLifecycle, Lifecycle

__all__ = ["AsyncHistory", "History"]


class History(Lifecycle):
    """A sandbox whose files can be kept, copied and put back.

    That is its home directory, `/home/user`, also known as `/workspace`. Captures are consistent,
    do not stop what runs, and share files copy-on-write where the server can (`sb.isolation`).
    """

    def snapshot(self, name: str | None = None, *, overwrite: bool = False) -> models.SnapshotInfo:
        """Keep the files as a template for other sandboxes: `sandboxes.create(template=name)`.

        Args:
            name: What to call the snapshot; the server chooses if None.
            overwrite: Replace a snapshot of this name, once the new one is complete.

        Raises:
            ConflictError: There is one of this name.
            UnsupportedByServerError: The engine captures no files.
        """
        return self._run(snapshots.create(self._server, self._use(), name, overwrite=overwrite))

    def fork(self, count: int = 1) -> Sequence[Self]:
        """Make sandboxes that begin with the files of this one, all or none of them.

        They have its template, limits, environment, metadata and network mode, but no name and none
        of its processes. As context managers they are destroyed at the end.

        Args:
            count: How many.
        """
        infos = self._run(snapshots.fork(self._server, self._use(), count))
        return [type(self)(self._transport, info, owned=True) for info in infos]

    def checkpoint(self, name: str | None = None) -> models.Checkpoint:
        """Remember the files, to go back to them; a checkpoint goes with its sandbox.

        Args:
            name: Any text, for people to read.
        """
        return self._run(snapshots.checkpoint(self._server, self._use(), name))

    def checkpoints(self) -> Sequence[models.Checkpoint]:
        """List the checkpoints, newest first."""
        return self._run(snapshots.checkpoints(self._server, self._use()))

    def delete_checkpoint(self, checkpoint: models.Checkpoint | str) -> None:
        """Forget a checkpoint.

        Raises:
            NotFoundError: The sandbox has no such checkpoint.
        """
        self._run(snapshots.delete_checkpoint(self._server, self._use(), checkpoint))

    def rollback(self, checkpoint: models.Checkpoint | str) -> models.SandboxInfo:
        """Put the files back to a checkpoint, under the same id.

        Every process is killed, `/tmp` is emptied, and contexts of code begin anew. Commands that
        ran end with `AgentError`.

        Raises:
            NotFoundError: The sandbox has no such checkpoint.
        """
        info = self._run(snapshots.rollback(self._server, self._use(), checkpoint))
        self._detach()
        self._code = None
        return self._see(info)

    def changes(
        self, since: models.Checkpoint | str | None = None, *, diff: bool = True
    ) -> models.Changes:
        """Tell which files were added, modified or deleted.

        Args:
            since: Compared with which checkpoint; with what the sandbox began with if None.
            diff: Tell how text files differ; not done while the sandbox is paused.
        """
        return self._run(snapshots.changes(self._server, self._use(), since, diff=diff))


class AsyncHistory(AsyncLifecycle):
    """A sandbox whose files can be kept, copied and put back.

    That is its home directory, `/home/user`, also known as `/workspace`. Captures are consistent,
    do not stop what runs, and share files copy-on-write where the server can (`sb.isolation`).
    """

    async def snapshot(
        self, name: str | None = None, *, overwrite: bool = False
    ) -> models.SnapshotInfo:
        """Keep the files as a template for other sandboxes: `sandboxes.create(template=name)`.

        Args:
            name: What to call the snapshot; the server chooses if None.
            overwrite: Replace a snapshot of this name, once the new one is complete.

        Raises:
            ConflictError: There is one of this name.
            UnsupportedByServerError: The engine captures no files.
        """
        return await self._run(
            snapshots.create(self._server, self._use(), name, overwrite=overwrite)
        )

    async def fork(self, count: int = 1) -> Sequence[Self]:
        """Make sandboxes that begin with the files of this one, all or none of them.

        They have its template, limits, environment, metadata and network mode, but no name and none
        of its processes. As context managers they are destroyed at the end.

        Args:
            count: How many.
        """
        infos = await self._run(snapshots.fork(self._server, self._use(), count))
        return [type(self)(self._transport, info, owned=True) for info in infos]

    async def checkpoint(self, name: str | None = None) -> models.Checkpoint:
        """Remember the files, to go back to them; a checkpoint goes with its sandbox.

        Args:
            name: Any text, for people to read.
        """
        return await self._run(snapshots.checkpoint(self._server, self._use(), name))

    async def checkpoints(self) -> Sequence[models.Checkpoint]:
        """List the checkpoints, newest first."""
        return await self._run(snapshots.checkpoints(self._server, self._use()))

    async def delete_checkpoint(self, checkpoint: models.Checkpoint | str) -> None:
        """Forget a checkpoint.

        Raises:
            NotFoundError: The sandbox has no such checkpoint.
        """
        await self._run(snapshots.delete_checkpoint(self._server, self._use(), checkpoint))

    async def rollback(self, checkpoint: models.Checkpoint | str) -> models.SandboxInfo:
        """Put the files back to a checkpoint, under the same id.

        Every process is killed, `/tmp` is emptied, and contexts of code begin anew. Commands that
        ran end with `AgentError`.

        Raises:
            NotFoundError: The sandbox has no such checkpoint.
        """
        info = await self._run(snapshots.rollback(self._server, self._use(), checkpoint))
        await self._detach()
        self._code = None
        return self._see(info)

    async def changes(
        self, since: models.Checkpoint | str | None = None, *, diff: bool = True
    ) -> models.Changes:
        """Tell which files were added, modified or deleted.

        Args:
            since: Compared with which checkpoint; with what the sandbox began with if None.
            diff: Tell how text files differ; not done while the sandbox is paused.
        """
        return await self._run(snapshots.changes(self._server, self._use(), since, diff=diff))
