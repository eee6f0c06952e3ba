"""Queries about builds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Select, delete, exists, false, insert, or_, select, tuple_, update

from ..builds import BuildRecord
from .database import Database
from .tables import build_logs, builds

__all__ = ["SqlBuilds"]

_UNFINISHED = builds.c.status.in_(("pending", "running"))


class SqlBuilds:
    """The rows of builds and their logs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: BuildRecord) -> None:
        """Add a row."""
        async with self._database.begin() as connection:
            _ = await connection.execute(insert(builds).values(_values(record)))

    async def save(self, record: BuildRecord) -> bool:
        """Write what has become of a build, unless it has ended."""
        query = update(builds).where(builds.c.id == record.id, _UNFINISHED)
        async with self._database.begin() as connection:
            return (await connection.execute(query.values(_values(record)))).rowcount > 0

    async def adopt(self, build_id: str, host_id: str) -> bool:
        """Give a build that nobody has to a host; return whether nobody had it."""
        free = (builds.c.id == build_id, builds.c.host_id.is_(None), _UNFINISHED)
        async with self._database.begin() as connection:
            query = update(builds).where(*free).values(host_id=host_id)
            return (await connection.execute(query)).rowcount > 0

    async def get(self, build_id: str) -> BuildRecord | None:
        """Return the build of this id."""
        found = await self._select(select(builds).where(builds.c.id == build_id))
        return found[0] if found else None

    async def list(
        self, before: tuple[datetime, str] | None, limit: int | None
    ) -> Sequence[BuildRecord]:
        """Return builds, newest first."""
        columns = builds.c
        query = select(builds)
        if before is not None:
            query = query.where(tuple_(columns.created_at, columns.id) < before)
        query = query.order_by(columns.created_at.desc(), columns.id.desc())
        return await self._select(query.limit(limit))

    async def unfinished(self, hosts: Collection[str | None]) -> Sequence[BuildRecord]:
        """Return those of these hosts that are pending or running, oldest first."""
        host_id = builds.c.host_id
        there = [host_id.is_(None) if each is None else host_id == each for each in hosts]
        query = select(builds).where(_UNFINISHED, or_(false(), *there))
        return await self._select(query.order_by(builds.c.created_at, builds.c.id))

    async def save_log(self, build_id: str, content: str) -> None:
        """Write the log of a build, in the place of what there is of it."""
        there = exists().where(builds.c.id == build_id)
        async with self._database.begin() as connection:
            query = update(build_logs).where(build_logs.c.build_id == build_id)
            written = await connection.execute(query.values(content=content))
            if written.rowcount == 0 and await connection.scalar(select(there)):
                values = {"build_id": build_id, "content": content}
                _ = await connection.execute(insert(build_logs).values(values))

    async def log(self, build_id: str) -> str | None:
        """Return the log of a build."""
        query = select(build_logs.c.content).where(build_logs.c.build_id == build_id)
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def remove_before(self, time: datetime) -> None:
        """Forget finished builds older than that, and their logs."""
        query = delete(builds).where(builds.c.created_at < time, ~_UNFINISHED)
        async with self._database.begin() as connection:
            _ = await connection.execute(query)

    async def _select(self, query: Select[tuple[object, ...]]) -> Sequence[BuildRecord]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [BuildRecord(**row) for row in rows]


def _values(record: BuildRecord) -> Mapping[str, object]:
    values = {column.name: getattr(record, column.name) for column in builds.columns}
    return values | {"recipe": list(record.recipe), "default_env": dict(record.default_env)}
