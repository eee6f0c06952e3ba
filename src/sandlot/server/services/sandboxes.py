"""Sandboxes: which there are, how they come, and who may do what with them.

The store has a row for every sandbox there ever was; `Lives` has the living ones. How they rest,
wake and go stands in `lifecycle`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sandlot.server.engine.base import Engine, SandboxSpec
from sandlot.server.store.base import NameTakenError, SandboxRows
from sandlot.server.store.records import SandboxFilter, SandboxRecord

from . import new_sandboxes
from .errors import (
    AlreadyExistsError,
    HostUnavailableError,
    InvalidRequestError,
    InvalidStateError,
    NotFoundError,
    ServiceError,
    UnsupportedError,
)
from .lifecycle import FIRST_STATUS, move, wrong_state
from .live import LiveSandbox
from .lives import Lives
from .machines import Machines
from .new_sandboxes import NewSandbox
from .problems import engine_errors
from .recovery import recover
from .tasks import TaskGroup

__all__ = ["Creation", "Sandboxes", "StopReport"]

_ELSEWHERE = "Another server is making this sandbox: send the request again."
_RETRY_AFTER = 1.0
_ATTEMPTS = 10
"""How often a sandbox of a name is looked for that vanishes each time."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What came of a request for a sandbox: a new one, or one that was there."""

    record: SandboxRecord
    is_new: bool


@dataclass(frozen=True, slots=True)
class StopReport:
    """What became of sandboxes that were to be stopped."""

    stopped: Sequence[str]
    failed: Mapping[str, ServiceError]


class Sandboxes:
    """All sandboxes of all teams.

    Args:
        rows: Their rows.
        engine: What keeps them.
        machines: Where it keeps them.
        begin: Starts what their templates start, in one that has just been made.
    """

    def __init__(
        self,
        rows: SandboxRows,
        engine: Engine,
        machines: Machines,
        begin: Callable[[LiveSandbox], Awaitable[None]] | None = None,
    ) -> None:
        self._begin = begin
        self._rows = rows
        self._engine = engine
        self._machines = machines
        self._lives = Lives(rows, engine)
        self._creating = dict[str, asyncio.Task[SandboxRecord]]()
        self._tasks = TaskGroup()
        self._closing = False

    @property
    def lives(self) -> Lives:
        """What keeps the living ones."""
        return self._lives

    @property
    def live(self) -> Sequence[LiveSandbox]:
        """The running and the paused ones."""
        return self._lives.all

    async def recover(self) -> None:
        """Take in what outlived the last server, and say of the rest that it did not."""
        await recover(self._rows, self._engine, self._lives, self._machines)

    async def close(self, *, keep: bool = False) -> None:
        """Destroy all sandboxes, or leave them to the next server where the engine can do that."""
        self._closing = True
        keep = keep and self._engine.capabilities.reattach
        await self._lives.close(keep=keep)
        await self._tasks.finish()
        if not keep:
            now = datetime.now(UTC)
            _ = await self._rows.mark_gone("The server was shut down.", now, self._machines.hosts)

    def refuse_new(self) -> None:
        """Make no more sandboxes: the server is about to stop."""
        self._closing = True

    async def create(self, team_id: str, wanted: NewSandbox, sandbox_id: str) -> SandboxRecord:
        """Make a sandbox and return it running.

        What was begun is undone if the caller is cancelled.
        """
        if self._closing:
            raise HostUnavailableError("The server is shutting down.")
        self.check(wanted)
        task = self._tasks.start(self._create(team_id, wanted, sandbox_id))
        self._creating[sandbox_id] = task
        task.add_done_callback(lambda _: self._creating.pop(sandbox_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            _ = self._tasks.start(self.destroy(team_id, sandbox_id))
            raise

    async def get_or_create(self, team_id: str, wanted: NewSandbox, sandbox_id: str) -> Creation:
        """Return the live sandbox of the wanted name, whatever its status, or make it."""
        for _ in range(_ATTEMPTS):
            found = await self._find_named(team_id, wanted.name or "")
            if found is not None:
                return Creation(found, is_new=False)
            try:
                return Creation(await self.create(team_id, wanted, sandbox_id), is_new=True)
            except AlreadyExistsError:  # somebody was faster
                continue
        raise AlreadyExistsError(f"Sandboxes named {wanted.name!r} come and go: try again.")

    async def get(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Return a sandbox, whatever its status."""
        live = self._lives.find(sandbox_id)
        if live is not None and live.record.team_id == team_id:
            return live.current
        record = await self._rows.get(team_id, sandbox_id)
        if record is None:
            raise NotFoundError("There is no such sandbox.")
        return self._lives.overlay(record)

    def find_live(self, sandbox_id: str) -> LiveSandbox | None:
        """Return a sandbox that is running or paused."""
        return self._lives.find(sandbox_id)

    async def find(self, team_id: str, sandbox_id: str) -> SandboxRecord | None:
        """Return a sandbox, whatever its status, or None."""
        try:
            return await self.get(team_id, sandbox_id)
        except NotFoundError:
            return None

    async def list(self, team_id: str, wanted: SandboxFilter) -> Sequence[SandboxRecord]:
        """Return sandboxes, newest first; without the gone ones unless a status is wanted."""
        records = await self._rows.list(team_id, wanted)
        return [self._lives.overlay(record) for record in records]

    async def running(self, team_id: str, sandbox_id: str) -> LiveSandbox:
        """Return a sandbox that must be running.

        Raises:
            NotFoundError: There is none.
            InvalidStateError: It is not running.
        """
        return await self.in_status(team_id, sandbox_id, "running")

    async def in_status(self, team_id: str, sandbox_id: str, *statuses: str) -> LiveSandbox:
        """Return a sandbox that must be in one of these statuses.

        Raises:
            NotFoundError: There is none.
            InvalidStateError: It is in another one.
        """
        live = self._lives.find(sandbox_id)
        if live is None or live.record.team_id != team_id:
            record = await self.get(team_id, sandbox_id)
            live = self._lives.find(sandbox_id)
            if live is None:
                self._machines.refuse_elsewhere(record)
                raise InvalidStateError(wrong_state(record.status, " or ".join(statuses)))
        live.require(*statuses)
        return live

    async def ping(self, team_id: str, sandbox_id: str) -> None:
        """Start the idle timer anew."""
        (await self.running(team_id, sandbox_id)).touch()

    async def pause(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Freeze a running sandbox."""
        live = await self.in_status(team_id, sandbox_id, "running")
        if self._engine.capabilities.pause == "none":
            raise UnsupportedError("This engine cannot pause sandboxes.")
        return await self._lives.pause(live)

    async def resume(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Thaw a paused sandbox."""
        live = await self.in_status(team_id, sandbox_id, "paused")
        return await self._lives.resume(live)

    async def renew_lease(self, team_id: str, sandbox_id: str) -> SandboxRecord:
        """Begin a new period of the lease.

        Raises:
            InvalidRequestError: There is no lease.
        """
        live = await self.in_status(team_id, sandbox_id, "running", "paused")
        if not live.record.lease_sec:
            raise InvalidRequestError("The sandbox has no lease: create it with lease_sec.")
        live.deadlines.renew()
        return live.current

    async def destroy(self, team_id: str, sandbox_id: str) -> None:
        """Remove a sandbox; one that is gone already is fine."""
        creating = self._creating.get(sandbox_id)
        if creating is not None:
            _ = await asyncio.wait([creating])
        record = await self.get(team_id, sandbox_id)
        live = self._lives.find(record.id)
        if live is not None:
            await self._lives.end(live, None)
        else:
            self._machines.refuse_elsewhere(record)

    async def stop_many(
        self, team_id: str, sandbox_ids: Sequence[str], *, save_state: bool
    ) -> StopReport:
        """Destroy sandboxes, or pause them; what fails does not keep the others from it."""
        wanted = list(dict.fromkeys(sandbox_ids))
        stop = self._settle if save_state else self.destroy
        results = await asyncio.gather(
            *(stop(team_id, sandbox_id) for sandbox_id in wanted), return_exceptions=True
        )
        failed = dict[str, ServiceError]()
        for sandbox_id, result in zip(wanted, results, strict=True):
            if isinstance(result, ServiceError):
                failed[sandbox_id] = result
            elif isinstance(result, BaseException):
                raise result
        return StopReport([each for each in wanted if each not in failed], failed)

    async def save_activity(self) -> None:
        """Write down what is not written at once."""
        await self._lives.catch_up()

    async def begin(self, live: LiveSandbox) -> None:
        """Start what the template of a sandbox starts, once its processes have begun anew.

        Raises:
            ServiceError: It does not come to work.
        """
        if self._begin is not None and live.record.setup is not None:
            await self._begin(live)

    def check(self, wanted: NewSandbox) -> None:
        """Check that such a sandbox can be made.

        Raises:
            ServiceError: It cannot.
        """
        new_sandboxes.check(wanted, self._engine.capabilities)

    async def _create(self, team_id: str, wanted: NewSandbox, sandbox_id: str) -> SandboxRecord:
        place = await self._machines.choose(team_id, wanted.host_tags, wanted.snapshot_host_id)
        now = datetime.now(UTC)
        record = SandboxRecord(
            id=sandbox_id,
            team_id=team_id,
            status=FIRST_STATUS,
            template=wanted.template,
            vcpus=wanted.vcpus,
            memory_mb=wanted.memory_mb,
            disk_mb=wanted.disk_mb,
            timeout_sec=wanted.timeout_sec,
            network=wanted.network,
            name=wanted.name,
            metadata=wanted.metadata,
            env=wanted.env,
            cwd=wanted.cwd,
            on_timeout=wanted.on_timeout,
            max_lifetime_sec=wanted.max_lifetime_sec,
            lease_sec=wanted.lease_sec,
            snapshot=wanted.snapshot,
            setup=wanted.setup,
            host_id=place.host_id,
            created_at=now,
            last_updated=now,
        )
        try:
            await self._rows.add(record)
        except NameTakenError as error:
            if await self._rows.get(team_id, sandbox_id) is not None:
                raise HostUnavailableError(_ELSEWHERE, _RETRY_AFTER) from error
            raise AlreadyExistsError(
                f"There is a sandbox named {wanted.name!r}: destroy it or choose another name."
            ) from error
        spec = SandboxSpec(
            id=sandbox_id,
            template=wanted.template,
            vcpus=wanted.vcpus,
            memory_mb=wanted.memory_mb,
            disk_mb=wanted.disk_mb,
            network=wanted.network,
            env=wanted.env,
            cwd=wanted.cwd,
            snapshot=wanted.snapshot_id,
            nodes=place.nodes,
        )
        try:
            with engine_errors():
                handle = await self._engine.create(spec)
        except BaseException as error:
            reason = str(error) or "It could not be made."
            _ = await self._lives.save(move(record, "fail", reason))
            raise
        record = replace(record, host_id=self._machines.host_of(handle.node))
        live = await self._lives.enter(record, handle)
        try:
            await self.begin(live)
        except BaseException as error:
            await self._lives.end(live, f"What its template starts failed: {error}")
            raise
        return live.current

    async def _find_named(self, team_id: str, name: str) -> SandboxRecord | None:
        """Return the live sandbox of this name, once it is made or gone if it is about to be."""
        for record in await self.list(team_id, SandboxFilter(name=name)):
            creating = self._creating.get(record.id)
            if creating is not None:
                _ = await asyncio.wait([creating])
            live = self._lives.find(record.id)
            if live is not None and live.ending is None:
                return live.current
            if live is not None:
                await self._lives.end(live, None)
        return None

    async def _settle(self, team_id: str, sandbox_id: str) -> None:
        """Pause a sandbox that is not paused yet."""
        live = await self.in_status(team_id, sandbox_id, "running", "paused")
        if live.record.status == "running":
            _ = await self.pause(team_id, sandbox_id)
