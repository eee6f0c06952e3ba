"""The handle of a living sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sandlot.server.engine.base import (
    Changes,
    Command,
    EngineError,
    FileReader,
    FileTree,
    FileWriter,
    PortClosedError,
    Process,
    SandboxGoneError,
    SandboxSpec,
    SnapshotSize,
    UnsuitableError,
    Usage,
)
from sandlot.server.guest import wire

from .agent import AgentClient, RefusedError
from .connections import Connections
from .disk import DiskMeter
from .files import LocalReader, LocalWriter
from .gauge import Gauge, Meter
from .machine import THIS_MACHINE
from .past import Past
from .process import LocalProcess
from .recipes import Service
from .sentry import Sentry
from .service import RunningService
from .trees import LocalTree

__all__ = ["Freezer", "LocalSandbox"]

_SERVICE = "service"
_NO_SNAPSHOTS = "this engine cannot capture files"


class Freezer(Protocol):
    """Stops and continues all processes of a sandbox from outside."""

    async def freeze(self) -> None:
        """Return when nothing runs any more."""
        ...

    async def thaw(self) -> None:
        """Let everything run on."""
        ...


class LocalSandbox:
    """A sandbox whose agent answers.

    Args:
        env: Environment variables of every program.
        home: Returns where its own files are, as the server sees them.
        owner: User on the host that its processes are, where that is not the server's own.
        sentry: What holds the limits that the kernel does not.
        freezer: How to pause it; the agent does it if None.
        meter: How to measure it; the agent does it if None.
        service: What runs in it from the beginning.
        past: What captures its files; nothing does if None.
    """

    def __init__(
        self,
        spec: SandboxSpec,
        agent: AgentClient,
        *,
        env: Mapping[str, str],
        home: Callable[[], Path],
        owner: int | None,
        sentry: Sentry | None,
        freezer: Freezer | None,
        meter: Meter | None,
        service: Service | None = None,
        past: Past | None = None,
    ) -> None:
        self._spec = spec
        self._env = env
        self._owner = owner
        self._watch_by(sentry)
        self._freezer = freezer
        self._disk = DiskMeter(home)
        self._gauge = None if meter is None else Gauge(meter, self._disk)
        self._kind_of_service = service
        self._past = past
        self._paused = False
        self._renewal: asyncio.Task[None] | None = None
        self._agent = agent
        self._connections = Connections(agent)
        self._service = self._serve(agent)

    def _watch_by(self, sentry: Sentry | None) -> None:
        self._sentry = sentry
        self._fates = None if sentry is None else sentry.fates
        # Held by whoever makes it stand still.
        self._turn = asyncio.Lock() if sentry is None else sentry.lock

    def _serve(self, agent: AgentClient) -> RunningService | None:
        """Run the service for as long as the agent lives."""
        if self._kind_of_service is None:
            return None
        command = Command(self._kind_of_service.argv, self._spec.env, self._spec.cwd)

        async def find() -> LocalProcess | None:
            await agent.wait_ready()
            return LocalProcess.outlasted(agent, _SERVICE)

        service = RunningService(
            self._kind_of_service,
            lambda: LocalProcess.start(
                agent, command, self._env, self._owner, _SERVICE, fates=self._fates
            ),
            find,
        )
        agent.when_gone(service.stop)
        return service

    def __repr__(self) -> str:
        return f"LocalSandbox({self.id!r})"

    @property
    def id(self) -> str:
        """Its id."""
        return self._spec.id

    @property
    def node(self) -> str:
        """Name of the node that it is on: there is but one."""
        return THIS_MACHINE

    @property
    def gone(self) -> bool:
        """Whether it has died."""
        return self._renewal is None and self._agent.gone

    def rename(self, sandbox_id: str) -> None:
        """Answer to another id from now on."""
        self._spec = replace(self._spec, id=sandbox_id)

    async def wait_prepared(self) -> None:
        """Wait until its first user has nothing to wait for.

        Raises:
            EngineError: What runs in it from the beginning does not run.
        """
        if self._service is not None:
            await self._service.wait_prepared()

    async def wait_gone(self) -> None:
        """Wait until the sandbox has died, for whatever reason."""
        while True:
            await self._agent.wait_gone()
            if self._renewal is None:
                return
            _ = await asyncio.wait([self._renewal])

    async def spawn(self, command: Command) -> Process:
        """Start a program."""
        if self._sentry is not None:
            self._sentry.wake()
        return await LocalProcess.start(
            self._agent, command, self._env, self._owner, fates=self._fates
        )

    async def open_reader(self, path: str) -> FileReader:
        """Open a regular file for reading."""
        return await LocalReader.open(self._agent, path)

    async def open_writer(self, path: str) -> FileWriter:
        """Prepare to make or replace a regular file."""
        return await LocalWriter.open(self._agent, path, self._sentry)

    @property
    def tree(self) -> FileTree:
        """Its files and directories."""
        if self._sentry is not None:
            self._sentry.wake()
        return LocalTree(self._agent, self._owner, self._fates)

    async def connect(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], timeout: float | None = None
    ) -> asyncio.Transport:
        """Connect to a program that listens on a TCP port; that of the service is waited for."""
        service = self._service
        if service is None or port != service.port:
            return await self._connect(port, factory, timeout)
        await service.wait_ready()
        try:
            return await self._connect(port, factory, timeout)
        except PortClosedError:
            if not await service.is_gone():
                raise
        await service.wait_ready()
        return await self._connect(port, factory, timeout)

    async def _connect(
        self, port: int, factory: Callable[[], asyncio.BaseProtocol], timeout: float | None
    ) -> asyncio.Transport:
        async with asyncio.timeout(timeout):
            return await self._connections.open(port, factory)

    async def pause(self) -> None:
        """Freeze all processes."""
        async with self._turn:
            self._check_alive()
            await self._freeze()
            self._note_pause(True)

    async def resume(self) -> None:
        """Thaw all processes."""
        async with self._turn:
            self._check_alive()
            await self._thaw()
            self._note_pause(False)

    def _note_pause(self, paused: bool) -> None:
        self._paused = paused
        if self._sentry is not None:
            self._sentry.paused = paused

    async def _freeze(self) -> None:
        if self._freezer is not None:
            await self._freezer.freeze()
            return
        message = await self._ask("stop")
        if not wire.boolean(message, "done"):
            raise EngineError("the sandbox could not be paused: some processes do not stop")

    async def _thaw(self) -> None:
        if self._freezer is not None:
            await self._freezer.thaw()
        else:
            _ = await self._ask("continue")

    async def usage(self) -> Usage:
        """Measure the use of resources."""
        self._check_alive()
        if self._gauge is not None:
            usage = await self._gauge.measure()
            self._check_alive()
            return usage
        disk = await self._disk.measure()
        self._check_alive()
        message = await self._ask("usage")
        return Usage(
            wire.number(message, "cpu_seconds"), wire.integer(message, "memory_bytes"), disk
        )

    async def snapshot(self, snapshot_id: str) -> Awaitable[SnapshotSize]:
        """Capture the home directory."""
        past = self._require_past()
        task = asyncio.create_task(self._capture(past, snapshot_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # It is finished all the same, since it cannot be broken off, and then undone.
            task.add_done_callback(lambda done: _undo(past, snapshot_id, done))
            raise

    async def _capture(self, past: Past, snapshot_id: str) -> Awaitable[SnapshotSize]:
        async with self._turn:
            self._check_alive()
            if not self._paused:
                await self._freeze()
            try:
                size = await past.capture(snapshot_id, stop=self._freezer is None)
                if self._sentry is not None:
                    self._sentry.directory = past.directory
                return size
            finally:
                if not self._paused:
                    await self._thaw()

    async def rollback(self, snapshot_id: str) -> None:
        """Begin anew with the files of a snapshot."""
        past = self._require_past()
        async with self._turn:
            self._check_alive()
            task = self._renewal = asyncio.create_task(self._go_back(past, snapshot_id))
        await asyncio.shield(task)

    async def _go_back(self, past: Past, snapshot_id: str) -> None:
        async with self._turn:
            try:
                agent, sentry = await past.go_back(snapshot_id)
                self._agent = agent
                self._watch_by(sentry)
                self._note_pause(False)
                self._connections = Connections(agent)
                self._service = self._serve(agent)
            finally:
                self._renewal = None

    async def changes(self, snapshot_id: str | None) -> Changes:
        """Compare the home directory with a snapshot."""
        past = self._require_past()
        self._check_alive()
        return await past.changes(snapshot_id)

    async def open_base(self, snapshot_id: str | None, path: str) -> FileReader:
        """Open a file as it was in a snapshot."""
        past = self._require_past()
        self._check_alive()
        return await past.open(snapshot_id, path)

    def _require_past(self) -> Past:
        if self._past is None:
            raise UnsuitableError(_NO_SNAPSHOTS)
        return self._past

    async def _ask(self, op: str) -> wire.Message:
        try:
            return await self._agent.ask(op, {})
        except RefusedError as error:
            raise EngineError(f"the sandbox failed: {error}") from error

    def _check_alive(self) -> None:
        if self._agent.gone:
            raise SandboxGoneError("the sandbox has died")


def _undo(past: Past, snapshot_id: str, task: asyncio.Task[Awaitable[SnapshotSize]]) -> None:
    if not task.cancelled() and task.exception() is None:
        past.forget(snapshot_id)
