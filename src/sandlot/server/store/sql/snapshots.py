"""Queries about snapshots and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy import RowMapping, Select, delete, insert, select
from sqlalchemy.exc import IntegrityError

from ..base import NameTakenError
from ..records import SnapshotRecord
from ..setups import read_setup
from .database import Database
from .tables import snapshots

__all__ = ["SqlSnapshots"]

_NEWEST = (snapshots.c.created_at.desc(), snapshots.c.id.desc())


class SqlSnapshots:
    """The rows of snapshots and checkpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: SnapshotRecord) -> None:
        """Add a row.

        Raises:
            NameTakenError: The team has a snapshot of this name.
        """
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(insert(snapshots).values(asdict(record)))
        except IntegrityError as error:
            raise NameTakenError(record.name) from error

    async def replace(self, record: SnapshotRecord) -> SnapshotRecord | None:
        """Add a row in the place of the team's snapshot of the same name; return that one."""
        async with self._database.begin() as connection:
            query = _named(record.team_id, record.name)
            row = (await connection.execute(query.with_for_update())).mappings().first()
            if row is not None:
                _ = await connection.execute(delete(snapshots).where(snapshots.c.id == row["id"]))
            _ = await connection.execute(insert(snapshots).values(asdict(record)))
        return None if row is None else _record(row)

    async def find(self, team_id: str, name: str) -> SnapshotRecord | None:
        """Return the team's snapshot of this name."""
        found = await self._select(_named(team_id, name))
        return found[0] if found else None

    async def get(self, snapshot_id: str) -> SnapshotRecord | None:
        """Return the snapshot or checkpoint of this id."""
        found = await self._select(select(snapshots).where(snapshots.c.id == snapshot_id))
        return found[0] if found else None

    async def list(self, team_id: str) -> Sequence[SnapshotRecord]:
        """Return the team's snapshots, newest first, without checkpoints."""
        columns = snapshots.c
        query = select(snapshots).where(
            columns.team_id == team_id, columns.sandbox_id.is_(None), ~columns.platform
        )
        return await self._select(query.order_by(*_NEWEST))

    async def find_platform(self, name: str) -> SnapshotRecord | None:
        """Return the platform template of this name."""
        columns = snapshots.c
        found = await self._select(select(snapshots).where(columns.platform, columns.name == name))
        return found[0] if found else None

    async def platform(self) -> Sequence[SnapshotRecord]:
        """Return all platform templates, newest first."""
        query = select(snapshots).where(snapshots.c.platform)
        return await self._select(query.order_by(*_NEWEST))

    async def checkpoints(self, sandbox_id: str) -> Sequence[SnapshotRecord]:
        """Return the checkpoints of a sandbox, newest first."""
        query = select(snapshots).where(snapshots.c.sandbox_id == sandbox_id)
        return await self._select(query.order_by(*_NEWEST))

    async def remove(self, snapshot_id: str) -> bool:
        """Remove a row; return whether there was one."""
        query = delete(snapshots).where(snapshots.c.id == snapshot_id)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).rowcount > 0

    async def all(self) -> Sequence[SnapshotRecord]:
        """Return all snapshots and checkpoints of all teams."""
        return await self._select(select(snapshots))

    async def _select(self, query: Select[tuple[object, ...]]) -> Sequence[SnapshotRecord]:
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_record(row) for row in rows]


def _named(team_id: str, name: str | None) -> Select[tuple[object, ...]]:
    columns = snapshots.c
    return select(snapshots).where(
        columns.team_id == team_id, columns.name == name, columns.sandbox_id.is_(None)
    )


def _record(row: RowMapping) -> SnapshotRecord:
    record = SnapshotRecord(**row)
    return replace(record, setup=read_setup(record.setup))
