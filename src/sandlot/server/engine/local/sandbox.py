"""The handle of a living sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sandlot.server.engine.base import (
    Changes,
    Command,
    EngineError,
    FileReader,
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
from .process import LocalProcess
from .recipes import Service
from .sentry import Sentry
from .service import RunningService

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
        home: Its home directory, as the server sees it.
        owner: User on the host that its processes are, where that is not the server's own.
        sentry: What holds the limits that the kernel does not.
        freezer: How to pause it; the agent does it if None.
        meter: How to measure it; the agent does it if None.
        service: What runs in it from the beginning.
    """

    def __init__(
        self,
        spec: SandboxSpec,
        agent: AgentClient,
        *,
        env: Mapping[str, str],
        home: Path,
        owner: int | None,
        sentry: Sentry | None,
        freezer: Freezer | None,
        meter: Meter | None,
        service: Service | None = None,
    ) -> None:
        self._spec = spec
        self._agent = agent
        self._env = env
        self._owner = owner
        self._sentry = sentry
        self._fates = None if sentry is None else sentry.fates
        self._freezer = freezer
        self._disk = DiskMeter(home)
        self._gauge = None if meter is None else Gauge(meter, self._disk)
        self._connections = Connections(agent)
        self._service: RunningService | None = None
        if service is not None:
            command = Command(service.argv, spec.env, spec.cwd)
            self._service = RunningService(
                service,
                lambda: LocalProcess.start(agent, command, env, owner, _SERVICE, fates=self._fates),
                self._find_service,
            )
            agent.when_gone(self._service.stop)

    def __repr__(self) -> str:
        return f"LocalSandbox({self.id!r})"

    @property
    def id(self) -> str:
        """Its id."""
        return self._spec.id

    @property
    def gone(self) -> bool:
        """Whether it has died."""
        return self._agent.gone

    def rename(self, sandbox_id: str) -> None:
        """Answer to another id from now on."""
        self._spec = replace(self._spec, id=sandbox_id)

    async def _find_service(self) -> LocalProcess | None:
        await self._agent.wait_ready()
        return LocalProcess.outlasted(self._agent, _SERVICE)

    async def wait_prepared(self) -> None:
        """Wait until its first user has nothing to wait for.

        Raises:
            EngineError: What runs in it from the beginning does not run.
        """
        if self._service is not None:
            await self._service.wait_prepared()

    async def wait_gone(self) -> None:
        """Wait until the sandbox has died, for whatever reason."""
        await self._agent.wait_gone()

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
        if self._sentry is None:
            await self._stop()
            return
        async with self._sentry.lock:
            await self._stop()
            self._sentry.paused = True

    async def _stop(self) -> None:
        self._check_alive()
        if self._freezer is not None:
            await self._freezer.freeze()
            return
        message, _ = await self._ask("stop")
        if not wire.boolean(message, "done"):
            raise EngineError("the sandbox could not be paused: some processes do not stop")

    async def resume(self) -> None:
        """Thaw all processes."""
        self._check_alive()
        if self._freezer is not None:
            await self._freezer.thaw()
        else:
            _ = await self._ask("continue")
        if self._sentry is not None:
            self._sentry.paused = False

    async def usage(self) -> Usage:
        """Measure the use of resources."""
        self._check_alive()
        if self._gauge is not None:
            usage = await self._gauge.measure()
            self._check_alive()
            return usage
        disk = await self._disk.measure()
        self._check_alive()
        message, _ = await self._ask("usage")
        return Usage(
            wire.number(message, "cpu_seconds"), wire.integer(message, "memory_bytes"), disk
        )

    async def snapshot(self, snapshot_id: str) -> SnapshotSize:
        """Capture the home directory."""
        raise UnsuitableError(_NO_SNAPSHOTS)

    async def rollback(self, snapshot_id: str) -> None:
        """Begin anew with the files of a snapshot."""
        raise UnsuitableError(_NO_SNAPSHOTS)

    async def changes(self, snapshot_id: str | None) -> Changes:
        """Compare the home directory with a snapshot."""
        raise UnsuitableError(_NO_SNAPSHOTS)

    async def open_base(self, snapshot_id: str | None, path: str) -> FileReader:
        """Open a file as it was in a snapshot."""
        raise UnsuitableError(_NO_SNAPSHOTS)

    async def _ask(self, op: str) -> tuple[wire.Message, list[int]]:
        try:
            return await self._agent.ask(op, {})
        except RefusedError as error:
            raise EngineError(f"the sandbox failed: {error}") from error

    def _check_alive(self) -> None:
        if self._agent.gone:
            raise SandboxGoneError("the sandbox has died")
