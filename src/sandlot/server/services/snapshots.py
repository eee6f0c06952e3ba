"""Snapshots: files of sandboxes that others begin with, kept under names."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace

from sandlot.server.engine.base import Engine
from sandlot.server.ids import new_id
from sandlot.server.store.base import NameTakenError, SnapshotRows
from sandlot.server.store.records import SnapshotRecord
from sandlot.server.store.setups import Setup

from .captures import capture, drop
from .errors import (
    AlreadyExistsError,
    ForbiddenError,
    InvalidRequestError,
    NameReservedError,
    NotFoundError,
)
from .events import Event, Events, Resource
from .live import LiveSandbox
from .new_sandboxes import NewSandbox
from .principals import DEFAULT_TEAM
from .sandboxes import Sandboxes
from .tasks import TaskGroup

__all__ = ["Snapshots"]

_log = logging.getLogger(__name__)


class Snapshots:
    """All snapshots of all teams, and the engine's copies of them.

    A row is written after the engine has the files and removed before it loses them, so that what a
    row tells of is there. What a crash leaves in the engine without a row is removed at the next
    start.
    """

    def __init__(
        self, rows: SnapshotRows, sandboxes: Sandboxes, engine: Engine, events: Events
    ) -> None:
        self._rows = rows
        self._events = events
        self._sandboxes = sandboxes
        self._engine = engine
        self._tasks = TaskGroup()

    async def recover(self, hosts: Collection[str]) -> None:
        """Make rows and engine agree after a crash; sandboxes have been recovered by then.

        Args:
            hosts: Those of this server; what is on others is left alone.
        """
        here = (None, *hosts)
        records = [record for record in await self._rows.all() if record.host_id in here]
        known = {record.id: record for record in records}
        held = set(await self._engine.snapshots())
        lost = known.keys() - held
        orphans = {
            record.id
            for record in known.values()
            if record.sandbox_id is not None
            and self._sandboxes.find_live(record.sandbox_id) is None
        }
        for snapshot_id in lost | orphans:
            _ = await self._rows.remove(snapshot_id)
        if lost:
            _log.warning("Snapshots were lost with the engine's data", extra={"count": len(lost)})
        for snapshot_id in (held - known.keys()) | (orphans & held):
            await drop(self._engine, snapshot_id)

    async def close(self) -> None:
        """Wait for what is being done."""
        await self._tasks.finish()

    async def create(
        self, team_id: str, sandbox_id: str, name: str | None, snapshot_id: str, *, overwrite: bool
    ) -> SnapshotRecord:
        """Keep the files of a running or paused sandbox under a name.

        Args:
            team_id: Whose.
            sandbox_id: Which sandbox.
            snapshot_id: Id of the new snapshot.
            name: What to call the snapshot; something free if None.
            overwrite: Whether it takes the place of one that has the name, once it is complete.
        """
        name = f"template-{secrets.token_hex(4)}" if name is None else name
        if self._is_base(name) or await self._rows.find_platform(name) is not None:
            raise NameReservedError(f"{name!r} is a template of this server: use another name.")
        taken = await self._rows.find(team_id, name) is not None
        if taken and not overwrite:
            raise _taken(name)
        live = await self._sandboxes.in_status(team_id, sandbox_id, "running", "paused")
        return await self._tasks.finished(self._create(live, name, snapshot_id, overwrite))

    async def list(self, team_id: str) -> Sequence[SnapshotRecord]:
        """Return the snapshots of a team, newest first."""
        return await self._rows.list(team_id)

    async def platform(self) -> Sequence[SnapshotRecord]:
        """Return the templates that were built for all teams, newest first."""
        return await self._rows.platform()

    async def list_all(self) -> Sequence[SnapshotRecord]:
        """Return the snapshots of all teams, newest first."""
        found = [record for record in await self._rows.all() if record.sandbox_id is None]
        return sorted(found, key=lambda record: (record.created_at, record.id), reverse=True)

    async def get(self, team_id: str, name: str) -> SnapshotRecord:
        """Return the snapshot of this name, or the template that was built for all teams."""
        record = await self._visible(team_id, name)
        if record is None:
            raise NotFoundError(f"There is no snapshot named {name!r}.")
        return record

    async def find(self, snapshot_id: str) -> SnapshotRecord | None:
        """Return the snapshot or checkpoint of this id."""
        return await self._rows.get(snapshot_id)

    async def delete(self, team_id: str, name: str) -> None:
        """Delete a snapshot; sandboxes made from it keep their files."""
        record = None if self._is_base(name) else await self.get(team_id, name)
        if record is None or record.platform:
            raise ForbiddenError(f"{name!r} is a template of this server.")
        await self._tasks.finished(self._delete(record))

    async def check_buildable(self, name: str) -> None:
        """Check that a template for all teams may be built under this name.

        Raises:
            AlreadyExistsError: It is that of something else.
        """
        found = await self._rows.find(DEFAULT_TEAM, name)
        if self._is_base(name) or (found is not None and not found.platform):
            raise AlreadyExistsError(f"{name!r} is taken by something that was not built.")

    async def capture_template(self, live: LiveSandbox, name: str, setup: Setup) -> SnapshotRecord:
        """Capture the files of a sandbox for a template that `publish` makes known.

        Nothing is left of them if the caller is cancelled meanwhile.
        """
        snapshot_id = new_id("sn")
        try:
            captured = await capture(live, snapshot_id, name)
            await self.check_buildable(name)
        except BaseException:
            await self._tasks.finished(drop(self._engine, snapshot_id))
            raise
        return replace(captured, team_id=DEFAULT_TEAM, setup=setup, platform=True)

    async def publish(self, template: SnapshotRecord) -> None:
        """Make a template known to all teams, in the place of an older one of its name."""
        await self._tasks.finished(self._put(template))

    async def withdraw(self, template: SnapshotRecord) -> None:
        """Remove what `capture_template` returned, whether or not it was published."""
        await self._tasks.finished(self._withdraw(template))

    async def unpublish(self, name: str) -> None:
        """Delete a template that was built for all teams; sandboxes made from it keep its files.

        Raises:
            NotFoundError: There is none of this name.
            ForbiddenError: It comes with the engine.
        """
        if self._is_base(name):
            raise ForbiddenError(f"{name!r} is a template of this server.")
        record = await self._rows.find_platform(name)
        if record is None:
            raise NotFoundError(f"There is no template named {name!r}.")
        await self._tasks.finished(self._delete(record))

    async def starting_point(
        self, team_id: str, template: str | None, snapshot: str | None
    ) -> NewSandbox:
        """Return the defaults of a sandbox made from a template or a snapshot, given by name."""
        usual = NewSandbox()
        if snapshot is None:
            name = template or usual.template
            record = None if self._is_base(name) else await self._visible(team_id, name)
            if record is None:
                return replace(usual, template=name)
        else:
            record = await self.get(team_id, snapshot)
            if template not in (None, "", record.template, record.name):
                raise InvalidRequestError(
                    f"template: the snapshot {snapshot!r} is of the template {record.template!r}."
                )
        return replace(
            usual,
            template=record.template,
            vcpus=record.vcpus,
            memory_mb=record.memory_mb,
            disk_mb=record.disk_mb,
            snapshot=record.name,
            snapshot_id=record.id,
            setup=record.setup,
            snapshot_host_id=record.host_id,
        )

    async def _visible(self, team_id: str, name: str) -> SnapshotRecord | None:
        return await self._rows.find(team_id, name) or await self._rows.find_platform(name)

    def _is_base(self, name: str) -> bool:
        capabilities = self._engine.capabilities
        return name in capabilities.templates or name in capabilities.missing

    async def _create(
        self, live: LiveSandbox, name: str, snapshot_id: str, overwrite: bool
    ) -> SnapshotRecord:
        record = await capture(live, snapshot_id, name)
        try:
            if overwrite:
                old = await self._rows.replace(record)
            else:
                old = None
                await self._rows.add(record)
        except BaseException as error:
            await drop(self._engine, record.id)
            if isinstance(error, NameTakenError):
                raise _taken(name) from error
            raise
        if old is not None:
            await drop(self._engine, old.id)
        self._tell("template.snapshot.created", record)
        return record

    async def _put(self, record: SnapshotRecord) -> None:
        try:
            old = await self._rows.replace(record)
        except BaseException:
            await drop(self._engine, record.id)
            raise
        if old is not None:
            await drop(self._engine, old.id)
        self._tell("template.snapshot.created", record)

    async def _delete(self, record: SnapshotRecord) -> None:
        if await self._rows.remove(record.id):
            await drop(self._engine, record.id)
            self._tell("template.snapshot.deleted", record)

    async def _withdraw(self, template: SnapshotRecord) -> None:
        if await self._rows.remove(template.id):
            self._tell("template.snapshot.deleted", template)
        await drop(self._engine, template.id)

    def _tell(self, event: str, record: SnapshotRecord) -> None:
        resource = Resource("snapshot", record.name or record.id)
        self._events.publish(Event(event, record.team_id, resource))


def _taken(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"There is a snapshot named {name!r}: choose another name, or overwrite it."
    )
