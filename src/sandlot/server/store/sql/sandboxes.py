"""Queries about sandboxes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import RowMapping, Select, exists, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from ..base import NameTakenError
from ..records import LIVE_STATUSES, SandboxFilter, SandboxRecord
from ..setups import read_setup, write_setup
from ..usage import has_run, usage_of
from .database import Database
from .tables import LIVE, sandbox_labels, sandboxes
from .usage import add_usage

__all__ = ["SqlSandboxes"]

_SETTABLE = (
    "status",
    "status_reason",
    "started_at",
    "last_active_at",
    "last_updated",
    "lease_expires_at",
    "host_id",
)


class SqlSandboxes:
    """The rows of all sandboxes there ever were."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: SandboxRecord) -> None:
        """Add a row.

        Raises:
            NameTakenError: A live sandbox of the team has this name.
        """
        values = {column.name: getattr(record, column.name) for column in sandboxes.columns}
        values["metadata"] = dict(record.metadata)
        values["env"] = dict(record.env)
        values["setup"] = write_setup(record.setup)
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(insert(sandboxes).values(values))
                if record.metadata:
                    labels = [
                        {"sandbox_id": record.id, "key": key, "value": value}
                        for key, value in record.metadata.items()
                    ]
                    _ = await connection.execute(insert(sandbox_labels), labels)
        except IntegrityError as error:
            raise NameTakenError(record.name) from error

    async def save(
        self,
        record: SandboxRecord,
        *,
        until: datetime | None = None,
        only: Collection[str] = LIVE_STATUSES,
    ) -> bool:
        """Write what can change of a sandbox, and add what it used if it ceases to run."""
        values = {name: getattr(record, name) for name in _SETTABLE}
        this = (sandboxes.c.id == record.id, sandboxes.c.status.in_(only))
        async with self._database.begin() as connection:
            # Another server may say that it is gone: of two, one is first.
            found = await connection.execute(select(sandboxes).where(*this).with_for_update())
            row = found.mappings().first()
            if row is None:
                return False
            _ = await connection.execute(update(sandboxes).where(*this).values(values))
            if has_run(before := _record(row), record):
                used = usage_of(before, until or record.last_updated)
                await add_usage(connection, before.team_id, used)
        return True

    async def save_activity(self, times: Mapping[str, datetime]) -> None:
        """Write when sandboxes were last active, by their ids."""
        async with self._database.begin() as connection:
            for sandbox_id, time in times.items():
                _ = await connection.execute(
                    update(sandboxes)
                    .where(sandboxes.c.id == sandbox_id)
                    .values(last_active_at=time)
                )

    async def get(self, team_id: str, sandbox_id: str) -> SandboxRecord | None:
        """Return the sandbox of this id, if the team has it."""
        query = select(sandboxes).where(
            sandboxes.c.id == sandbox_id, sandboxes.c.team_id == team_id
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _record(row)

    async def list(self, team_id: str, wanted: SandboxFilter) -> Sequence[SandboxRecord]:
        """Return sandboxes, newest first; without the gone ones unless a status is wanted."""
        columns = sandboxes.c
        query = select(sandboxes).where(columns.team_id == team_id)
        if wanted.status is None:
            query = query.where(LIVE)
        else:
            query = query.where(columns.status == wanted.status)
        if wanted.template is not None:
            query = query.where(columns.template == wanted.template)
        if wanted.name is not None:
            query = query.where(columns.name == wanted.name)
        for key, value in wanted.metadata.items():
            query = query.where(
                exists().where(
                    sandbox_labels.c.sandbox_id == columns.id,
                    sandbox_labels.c.key == key,
                    sandbox_labels.c.value == value,
                )
            )
        if wanted.before is not None:
            # As a row value, so that the index leads to the place.
            query = query.where(tuple_(columns.created_at, columns.id) < wanted.before)
        query = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(wanted.limit)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_record(row) for row in rows]

    async def living(self, hosts: Collection[str] | None = None) -> Sequence[SandboxRecord]:
        """Return all that count as live, on these hosts or nobody knows where."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(_living(hosts))).mappings().all()
        return [_record(row) for row in rows]

    async def on_host(self, host_id: str) -> Sequence[SandboxRecord]:
        """Return all that count as live on a host, of all teams, in order of their ids."""
        query = select(sandboxes).where(LIVE, sandboxes.c.host_id == host_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(sandboxes.c.id))).mappings().all()
        return [_record(row) for row in rows]

    async def mark_gone(
        self, reason: str, time: datetime, hosts: Collection[str] | None = None
    ) -> int:
        """Mark all that `living` returns as stopped, and return how many there were."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(_living(hosts))).mappings().all()
            gone = update(sandboxes).where(sandboxes.c.id.in_([row["id"] for row in rows]))
            values = {"status": "stopped", "status_reason": reason, "last_updated": time}
            _ = await connection.execute(gone.values(values))
            for record in map(_record, rows):
                if record.status == "running":
                    await add_usage(connection, record.team_id, usage_of(record, time))
        return len(rows)


def _living(hosts: Collection[str] | None) -> Select[tuple[object, ...]]:
    query = select(sandboxes).where(LIVE)
    if hosts is None:
        return query
    host_id = sandboxes.c.host_id
    return query.where(or_(host_id.in_(hosts), host_id.is_(None)))


def _record(row: RowMapping) -> SandboxRecord:
    record = SandboxRecord(**row)
    return replace(record, setup=read_setup(record.setup))
