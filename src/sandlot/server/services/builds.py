"""Builds of templates: a queue, two at a time, that outlives the server.

What is to be done stands in rows, and the files that came with it in a directory. A server that
starts goes on with what is pending here; what its last life had begun has failed. Builds of other
servers stand in `builds_elsewhere`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandlot.server.ids import new_id
from sandlot.server.store.builds import BuildRecord, BuildRows
from sandlot.server.store.records import SnapshotRecord

from .build_log import BuildLog, Piece
from .build_sandboxes import BuildSandboxes, NewBuild
from .building import Building, StepFailedError
from .builds_elsewhere import FINISHED, BuildsElsewhere, ended
from .commands import Commands
from .errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    ServiceError,
)
from .instructions import StartProgram, parse_healthcheck, parse_recipe
from .machines import Machines
from .sandboxes import Sandboxes
from .snapshots import Snapshots
from .tasks import TaskGroup

__all__ = ["Builds", "LogPage"]

_AT_ONCE = 2
_MOST_PENDING = 100
_KEPT = timedelta(days=30)
_GIVEN_UP = "Another server said that it has ended, as this one was not heard of."
_STOPPED = "The server was stopped while it was being built: build it again."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of the log of a build, and what was known of the build just before it was read."""

    record: BuildRecord
    pieces: Sequence[Piece]
    next_offset: int


@dataclass
class _Job:
    """A build that is pending or running here.

    Attributes:
        certain: How it ends cannot be changed any more.
        template: What has come of it.
    """

    record: BuildRecord
    log: BuildLog = field(default_factory=BuildLog)
    task: asyncio.Task[None] | None = None
    certain: bool = False
    template: SnapshotRecord | None = None
    cancelled: bool = False


class Builds:
    """All builds.

    Args:
        rows: Their rows.
        machines: The hosts of this server.
        sandboxes: Where they take place.
        snapshots: Where templates go.
        commands: What runs commands.
        directory: Where files wait that came with recipes.
        timeout: Seconds that a build may take.
    """

    def __init__(
        self,
        rows: BuildRows,
        machines: Machines,
        sandboxes: Sandboxes,
        snapshots: Snapshots,
        commands: Commands,
        directory: Path,
        timeout: float,
    ) -> None:
        self._rows = rows
        self._machines = machines
        self._places = BuildSandboxes(rows, sandboxes, snapshots)
        self._elsewhere = BuildsElsewhere(rows, machines)
        self._sandboxes = sandboxes
        self._snapshots = snapshots
        self._commands = commands
        self.directory = directory
        self._timeout = timeout
        self._jobs = dict[str, _Job]()
        self._pending: list[_Job] = []
        self._running = 0
        self._tasks = TaskGroup()
        self._closing = False

    async def recover(self) -> None:
        """Fail what the last life of this server had begun, and go on with what is pending."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for record in await self._rows.unfinished((None, *self._machines.hosts)):
            if record.status == "running":
                if record.sandbox_id is not None and not await self._places.remove(record):
                    continue  # another server of this database is building it
                _ = await self._rows.save(ended(record, "failed", _STOPPED))
            elif record.host_id is None and not await self._rows.adopt(record.id, self._here):
                continue  # somebody was faster
            elif record.archive is not None and not self.archive_of(record.id).exists():
                lost = "The files that came with it are gone: build it again."
                _ = await self._rows.save(ended(record, "failed", lost))
            else:
                self._enqueue(_Job(replace(record, host_id=record.host_id or self._here)))
        known = {self.archive_of(build_id) for build_id in self._jobs}
        await asyncio.to_thread(_clear, self.directory, known)
        await self._places.remove_leftovers()
        self._begin_next()

    def stop_soon(self) -> None:
        """Begin nothing more, and keep nobody waiting: the server is about to stop."""
        self._closing = True
        for job in self._jobs.values():
            job.log.close()

    async def close(self) -> None:
        """Break off what runs; what is pending goes on with the next server."""
        self._closing = True
        for job in self._jobs.values():
            if job.task is not None and not job.certain:
                _ = job.task.cancel()
        await self._tasks.finish()

    async def create(self, team_id: str, wanted: NewBuild, build_id: str) -> BuildRecord:
        """Queue a build; files that came with it are where `archive_of` says.

        Raises:
            ServiceError: It could never succeed, or too many are waiting.
        """
        recipe = parse_recipe(wanted.recipe)
        if wanted.healthcheck is not None:
            _ = parse_healthcheck(wanted.healthcheck)
        await self._snapshots.check_buildable(wanted.name)
        base = await self._places.base(team_id, wanted)
        self._sandboxes.check(base)
        if len(self._pending) >= _MOST_PENDING:
            raise ConflictError(
                f"{_MOST_PENDING} builds are waiting: wait for them, or cancel some."
            )
        starts = any(isinstance(each, StartProgram) for each in recipe)
        checked = wanted.healthcheck or (base.setup.healthcheck if base.setup else None)
        record = BuildRecord(
            id=build_id,
            team_id=team_id,
            name=wanted.name,
            base_template=wanted.base_template,
            recipe=wanted.recipe,
            status="pending",
            vcpus=base.vcpus,
            memory_mb=base.memory_mb,
            disk_mb=base.disk_mb,
            network=base.network,
            created_at=datetime.now(UTC),
            total_steps=len(recipe) + (checked is not None) + starts,
            healthcheck=wanted.healthcheck,
            archive=wanted.archive,
            host_id=self._here,
        )
        await self._rows.add(record)
        self._enqueue(_Job(record))
        self._begin_next()
        return record

    async def list(
        self, before: tuple[datetime, str] | None, limit: int | None
    ) -> Sequence[BuildRecord]:
        """Return builds, newest first."""
        return [self._current(record) for record in await self._rows.list(before, limit)]

    async def get(self, build_id: str) -> BuildRecord:
        """Return a build."""
        record = await self.find(build_id)
        if record is None:
            raise NotFoundError("There is no such build.")
        return record

    async def find(self, build_id: str) -> BuildRecord | None:
        """Return a build, or None."""
        record = await self._rows.get(build_id)
        if record is None or build_id in self._jobs:
            return None if record is None else self._current(record)
        return await self._elsewhere.current(record)

    async def log(self, build_id: str) -> BuildLog:
        """Return the log of a build, which grows while it runs."""
        job = self._jobs.get(build_id)
        return await self._elsewhere.log(build_id) if job is None else job.log

    async def read_log(self, build_id: str, offset: int, limit: int, wait: float) -> LogPage:
        """Return what comes after a place in the log.

        Args:
            build_id: Of which build.
            offset: How many characters were read before.
            limit: How many to return at most.
            wait: Seconds to wait if there is nothing yet.
        """
        job = self._jobs.get(build_id)
        if job is None:
            await self._elsewhere.wait(build_id, offset, wait, lambda: self._closing)
        elif not self._closing:
            await job.log.wait(offset, wait)
        record = await self.get(build_id)  # before the log: if it has ended, nothing follows
        log = await self.log(build_id) if job is None else job.log
        pieces = log.read(offset, limit)
        return LogPage(record, pieces, offset + sum(len(piece.text) for piece in pieces))

    async def cancel(self, build_id: str) -> None:
        """End a build; when this returns nothing of it is left but its row and its log.

        Raises:
            NotFoundError: There is none of this id.
            InvalidRequestError: It has ended already, or its template is there.
            HostUnavailableError: It belongs to another server, which is there.
        """
        job = self._jobs.get(build_id)
        if job is not None and job.task is not None:
            await asyncio.sleep(0)  # a task that is cancelled before it has begun never begins
        if job is not None and not job.certain:
            job.cancelled = True
            if job.task is None:
                self._pending.remove(job)
                job.task = self._tasks.start(self._finish(job, "cancelled", None))
            else:
                _ = job.task.cancel()
        if job is not None and job.task is not None:
            _ = await asyncio.wait([job.task])
            if job.cancelled:
                return
        elif await self._elsewhere.cancel(await self.get(build_id)):
            return
        raise InvalidRequestError(f"The build has ended: {(await self.get(build_id)).status}.")

    async def save_logs(self) -> None:
        """Write down what has come since the last time, and break off what others have ended."""
        for job in list(self._jobs.values()):
            if job.log.changed:
                await self._rows.save_log(job.record.id, job.log.dump())
            if job.task is not None and not job.certain:
                record = await self._rows.get(job.record.id)
                if record is None or record.status in FINISHED:
                    _ = job.task.cancel()

    async def forget_old(self) -> None:
        """Forget builds of more than a month ago."""
        await self._rows.remove_before(datetime.now(UTC) - _KEPT)

    def archive_of(self, build_id: str) -> Path:
        """Return where the files of a build are until it ends."""
        return self.directory / f"{build_id}.tar"

    @property
    def _here(self) -> str:
        return next(iter(self._machines.hosts))

    def _current(self, record: BuildRecord) -> BuildRecord:
        job = self._jobs.get(record.id)
        if job is None:
            return record
        return replace(job.record, current_step=len(job.log.steps))

    def _enqueue(self, job: _Job) -> None:
        self._jobs[job.record.id] = job
        self._pending.append(job)

    def _begin_next(self) -> None:
        while self._pending and self._running < _AT_ONCE and not self._closing:
            job = self._pending.pop(0)
            self._running += 1
            job.task = self._tasks.start(self._perform(job))

    async def _perform(self, job: _Job) -> None:
        status = "failed"
        problem: str | None = "The server failed."
        try:
            await self._build(job)
            status, problem = "success", None
        except (StepFailedError, ServiceError) as error:
            problem = _STOPPED if self._closing else str(error)
        except TimeoutError:
            problem = f"It took longer than {self._timeout:g} seconds."
        except asyncio.CancelledError:
            status, problem = ("cancelled", None) if job.cancelled else ("failed", _STOPPED)
        except Exception:
            _log.exception("A build failed", extra={"build_id": job.record.id})
        try:
            await self._finish(job, status, problem)
        finally:
            self._running -= 1
            self._begin_next()

    async def _build(self, job: _Job) -> None:
        record = job.record
        sandbox_id = new_id("cl")
        job.record = replace(
            record, status="running", started_at=datetime.now(UTC), sandbox_id=sandbox_id
        )
        await self._save(job.record)
        async with asyncio.timeout(self._timeout):
            wanted = NewBuild(
                record.name,
                record.recipe,
                record.base_template,
                vcpus=record.vcpus,
                memory_mb=record.memory_mb,
                disk_mb=record.disk_mb,
                network=record.network,
            )
            base = await self._places.base(record.team_id, wanted)
            base = replace(base, metadata={"build": record.id})
            _ = await self._sandboxes.create(record.team_id, base, sandbox_id)
            live = await self._sandboxes.running(record.team_id, sandbox_id)
            archive = None if record.archive is None else self.archive_of(record.id)
            building = Building(record.id, archive, job.log, self._commands, self.directory)
            recipe = parse_recipe(record.recipe)
            setup = await building.follow(live, recipe, record.healthcheck)
            template = await self._snapshots.capture_template(live, record.name, setup)
            job.certain = True
        try:
            await self._save(job.record)
        except BaseException:
            await self._snapshots.withdraw(template)
            raise
        await self._snapshots.publish(template)
        job.template = template
        job.record = replace(
            job.record,
            default_user=setup.user,
            default_cwd=setup.cwd,
            default_env=setup.env,
        )

    async def _finish(self, job: _Job, status: str, problem: str | None) -> None:
        """Remove what is left of a build, and only then say that it has ended."""
        job.certain = True
        try:
            if job.record.sandbox_id is not None:
                _ = await self._places.remove(job.record)
            self.archive_of(job.record.id).unlink(missing_ok=True)
            steps = len(job.log.steps)
            job.record = replace(ended(job.record, status, problem), current_step=steps)
            await self._rows.save_log(job.record.id, job.log.dump())
            if not await self._rows.save(job.record) and job.template is not None:
                await self._snapshots.withdraw(job.template)
        finally:
            del self._jobs[job.record.id]
            job.log.close()

    async def _save(self, record: BuildRecord) -> None:
        if not await self._rows.save(record):
            raise ConflictError(_GIVEN_UP)


def _clear(directory: Path, known: Set[Path]) -> None:
    """Remove what is left of requests and builds that broke off."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in known:
            path.unlink()
