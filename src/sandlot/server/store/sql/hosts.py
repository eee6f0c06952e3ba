"""Queries about hosts, their tags and their tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..hosts import HostRecord, HostToken, TokenKind
from .database import Database, insert_missing
from .tables import host_tags, host_tokens, hosts

__all__ = ["SqlHosts"]


class SqlHosts:
    """The rows of hosts, their tags and their tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: HostRecord) -> bool:
        """Add a host, unless there is one of its id; return whether there was none."""
        async with self._database.begin() as connection:
            query = insert_missing(connection, hosts).values(asdict(record))
            return (await connection.execute(query)).rowcount > 0

    async def put(self, record: HostRecord) -> None:
        """Write a host, whether or not there is one of its id; its tags and tokens stay."""
        values = asdict(record)
        async with self._database.begin() as connection:
            result = await connection.execute(
                update(hosts).where(hosts.c.id == record.id).values(values)
            )
            if result.rowcount == 0:
                _ = await connection.execute(insert(hosts).values(values))

    async def get(self, host_id: str) -> HostRecord | None:
        """Return the host of this id, whosever it is."""
        found = await self._select(select(hosts).where(hosts.c.id == host_id))
        return found[0] if found else None

    async def list(self, team_id: str | None) -> Sequence[HostRecord]:
        """Return the hosts of a team, or all hosts, newest first."""
        query = select(hosts).order_by(hosts.c.created_at.desc(), hosts.c.id.desc())
        return await self._select(
            query if team_id is None else query.where(hosts.c.team_id == team_id)
        )

    async def register(self, record: HostRecord) -> bool:
        """Write a host that is `pending` until then; return whether it was."""
        query = update(hosts).where(hosts.c.id == record.id, hosts.c.status == "pending")
        async with self._database.begin() as connection:
            return (await connection.execute(query.values(asdict(record)))).rowcount > 0

    async def beat(self, host_ids: Collection[str], time: datetime) -> Mapping[str, str]:
        """Note that hosts are there now, `online`, but for those that are `pending`."""
        known = select(hosts.c.id, hosts.c.status).where(hosts.c.id.in_(host_ids))
        query = update(hosts).where(hosts.c.id.in_(host_ids), hosts.c.status != "pending")
        async with self._database.begin() as connection:
            rows = (await connection.execute(known.with_for_update())).all()
            _ = await connection.execute(query.values(status="online", last_heartbeat_at=time))
        return {host_id: status for host_id, status in rows}  # noqa: C416

    async def mark_unreachable(self, before: datetime, time: datetime) -> Sequence[HostRecord]:
        """Mark those that are `online` by their row, but were not heard of since; return them."""
        stale = (hosts.c.status == "online", hosts.c.last_heartbeat_at < before)
        if not await self._select(select(hosts).where(*stale)):
            return ()  # nearly always: nothing is written then
        query = update(hosts).where(*stale).values(status="unreachable", updated_at=time)
        async with self._database.begin() as connection:
            # Of several servers that notice it, one does it.
            rows = (await connection.execute(query.returning(*hosts.columns))).mappings().all()
        return [HostRecord(**row) for row in rows]

    async def remove(self, host_id: str) -> bool:
        """Remove a host with its tags and tokens; return whether there was one."""
        query = delete(hosts).where(hosts.c.id == host_id)
        async with self._database.begin() as connection:
            return (await connection.execute(query)).rowcount > 0

    async def tags(self, host_id: str) -> Sequence[str]:
        """Return the tags of a host, in order."""
        query = select(host_tags.c.tag).where(host_tags.c.host_id == host_id)
        async with self._database.read() as connection:
            return sorted(await connection.scalars(query))

    async def with_tags(self, host_ids: Collection[str], tags: Collection[str]) -> Collection[str]:
        """Return those of these hosts that have all of these tags."""
        wanted = set(tags)
        columns = host_tags.c
        query = (
            select(columns.host_id)
            .where(columns.host_id.in_(host_ids), columns.tag.in_(wanted))
            .group_by(columns.host_id)
            .having(func.count() == len(wanted))
        )
        async with self._database.read() as connection:
            return list(await connection.scalars(query))

    async def add_tag(self, host_id: str, tag: str) -> None:
        """Give a host a tag; that it has it already is fine."""
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(insert(host_tags).values(host_id=host_id, tag=tag))
        except IntegrityError:
            return  # it has it, or there is no such host any more

    async def remove_tag(self, host_id: str, tag: str) -> None:
        """Take a tag from a host; that it has none is fine."""
        columns = host_tags.c
        query = delete(host_tags).where(columns.host_id == host_id, columns.tag == tag)
        async with self._database.begin() as connection:
            _ = await connection.execute(query)

    async def add_token(self, token: HostToken) -> None:
        """Add a token, in the place of those of its kind that the host had."""
        columns = host_tokens.c
        old = delete(host_tokens).where(
            columns.host_id == token.host_id, columns.kind == token.kind
        )
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(old)
                _ = await connection.execute(insert(host_tokens).values(asdict(token)))
        except IntegrityError:
            return  # there is no such host any more

    async def use_token(self, hash: str, kind: TokenKind, time: datetime) -> str | None:
        """Use a token up; return the id of its host, or None if it is not valid any more."""
        columns = host_tokens.c
        query = delete(host_tokens).where(columns.hash == hash, columns.kind == kind)
        async with self._database.begin() as connection:
            # One statement: of two who use it at once, one gets it.
            row = (
                await connection.execute(query.returning(columns.host_id, columns.expires_at))
            ).first()
        if row is None:
            return None
        host_id, expires_at = row
        return host_id if expires_at > time else None

    async def _select(self, query: Select[tuple[object, ...]]) -> Sequence[HostRecord]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [HostRecord(**row) for row in rows]
