"""All that an engine has to do with homes and with what was captured of them."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sandlot.server.engine.base import (
    Command,
    DirectoryUnavailableError,
    EngineError,
    Exit,
    SandboxSpec,
)
from sandlot.server.guest import wire

from .agent import AgentClient
from .captures import Captures
from .errands import Errands
from .history import History
from .layers import Layers
from .past import Past
from .records import Record
from .sandbox import LocalSandbox
from .sentry import Sentry

__all__ = ["Archive"]

_log = logging.getLogger("sandlot.server.engine")


_FILL = "mkdir a && echo old > a/file && echo old > file"
_CHANGE = """
read x < a/file && test $x = old && echo new > file && rm -r a && mkdir a && test ! -e a/file &&
echo new > a/file && read x < file && test $x = new
"""
"""What kernels do wrongly in one way or another: not all that can be mounted can be used."""


class Archive:
    """Layers, homes and their history, put together.

    Args:
        path: The directory of the engine.
        durable: Whether snapshots are to outlive the machine's present life.
        send: Has a fork of the zygote do something.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool,
        send: Callable[[wire.Message, socket.socket], Awaitable[None]],
    ) -> None:
        self.layers = Layers(path, durable=durable)
        errands = Errands(send)
        self.captures = Captures(self.layers, errands)
        self.history = History(self.captures, self.layers, errands)

    def open(self, records: Sequence[Record]) -> Sequence[Record]:
        """Learn what an earlier life left; return those of its sandboxes whose homes are lost.

        Raises:
            DirectoryUnavailableError: It cannot be read.
        """
        lost: list[Record] = []
        try:
            self.layers.open()
        except OSError as error:
            text = f"the snapshots in the data directory cannot be used: {error.strerror}"
            raise DirectoryUnavailableError(text) from error
        for record in records:
            try:
                self.captures.adopt(record)
            except (wire.WireError, OSError) as error:
                _log.warning("a sandbox cannot be taken over: %s", error)
                lost.append(record)
            else:
                record.farewell = partial(self.captures.end, record)
        self.layers.sweep()
        return lost

    async def begin(self, record: Record) -> None:
        """Make the home of a new sandbox; see `Captures.begin`."""
        record.farewell = partial(self.captures.end, record)
        await self.captures.begin(record, record.spec.snapshot)

    def plan(self, record: Record) -> wire.Message:
        """Return what the zygote has to know of a home."""
        return self.captures.home(record).plan()

    def past(
        self, record: Record, renew: Callable[[str], Awaitable[tuple[AgentClient, Sentry]]]
    ) -> Past:
        """Return the past of a sandbox.

        Args:
            record: The sandbox.
            renew: Kills all in it and starts it with the files of a snapshot.
        """
        return Past(record, self.captures, self.history, renew)

    def forget(self, snapshot_id: str) -> None:
        """Forget a snapshot; what others need of it stays.

        Raises:
            EngineError: It cannot be removed.
        """
        try:
            self.layers.forget(snapshot_id)
        except OSError as error:
            raise EngineError(f"the snapshot cannot be removed: {error.strerror}") from error

    async def probe(
        self,
        sandbox: LocalSandbox,
        spec: SandboxSpec,
        create: Callable[[SandboxSpec], Awaitable[LocalSandbox]],
        destroy: Callable[[str], Awaitable[None]],
    ) -> None:
        """Capture a sandbox and begin another one with that, to see whether files can be shared."""
        other = replace(spec, id=f"{spec.id}-2", snapshot=spec.id)
        try:
            self.layers.check_sharing()
            await _run(sandbox, _FILL)
            _ = await sandbox.snapshot(spec.id)
            await _run(await create(other), _CHANGE)
        except (EngineError, OSError) as error:
            self.captures.share = False
            _log.info("files of sandboxes are copied, not shared: %s", error)
        await destroy(other.id)
        self.forget(spec.id)

    async def let_go(self) -> None:
        """Finish what is under way; what there is stays; may be repeated."""
        self.history.close()
        await self.layers.close()

    async def close(self) -> None:
        """Keep snapshots only, as there are no sandboxes any more; may be repeated."""
        self.captures.end_all()
        await self.let_go()
        self.layers.tidy()


async def _run(sandbox: LocalSandbox, script: str) -> None:
    """Run a script; raise an `EngineError` if it fails."""
    process = await sandbox.spawn(Command(["/bin/sh", "-c", script]))
    try:
        await process.discard()
        exit = await process.wait()
    finally:
        await process.close()
    if exit != Exit(0):
        raise EngineError("files of snapshots cannot be changed")
