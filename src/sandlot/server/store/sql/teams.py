"""Queries about teams and their members."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..identity import AlreadyMemberError, LastOwnerError
from ..identity_records import MemberRecord, Standing, TeamRecord
from .database import Database, insert_missing
from .tables import api_keys, memberships, teams, users
from .users import standing_of, standings

__all__ = ["SqlTeams"]


class SqlTeams:
    """The rows of teams and their members."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self, team_id: str, name: str, time: datetime) -> None:
        """Make a team, unless it is there."""
        async with self._database.begin() as connection:
            if await connection.scalar(select(teams.c.id).where(teams.c.id == team_id)) is None:
                slug = f"{secrets.token_hex(3)}-{secrets.token_hex(3)}"
                record = TeamRecord(team_id, name, slug, time)
                # Another server may do it at the same time.
                _ = await connection.execute(
                    insert_missing(connection, teams).values(asdict(record))
                )

    async def add(self, team: TeamRecord, owner_id: str) -> None:
        """Add a team with its first member."""
        async with self._database.begin() as connection:
            _ = await connection.execute(insert(teams).values(asdict(team)))
            _ = await connection.execute(
                insert(memberships).values(
                    team_id=team.id, user_id=owner_id, role="owner", joined_at=team.created_at
                )
            )

    async def get(self, team_id: str) -> TeamRecord | None:
        """Return the team of this id, unless it was deleted."""
        query = select(teams).where(teams.c.id == team_id, teams.c.deleted_at.is_(None))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else TeamRecord(**row)

    async def rename(self, team_id: str, name: str) -> None:
        """Give a team another name."""
        await self._set(team_id, name=name)

    async def set_byoc(self, team_id: str, *, enabled: bool) -> None:
        """Say whether a team brings hosts of its own."""
        await self._set(team_id, is_byoc=enabled)

    async def mark_deleted(self, team_id: str, time: datetime) -> None:
        """Delete a team, and its API keys."""
        async with self._database.begin() as connection:
            _ = await connection.execute(
                update(teams).where(teams.c.id == team_id).values(deleted_at=time)
            )
            _ = await connection.execute(delete(api_keys).where(api_keys.c.team_id == team_id))

    async def of_user(self, user_id: str) -> Sequence[Standing]:
        """Return what a user is in which teams, in the order in which they joined them."""
        query = (
            standings()
            .where(memberships.c.user_id == user_id)
            .order_by(memberships.c.joined_at, memberships.c.team_id)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [standing_of(row) for row in rows]

    async def members(self, team_id: str) -> Sequence[MemberRecord]:
        """Return the members of a team, in the order in which they joined."""
        query = (
            select(*memberships.columns, users.c.email, users.c.name)
            .join_from(memberships, users, users.c.id == memberships.c.user_id)
            .where(memberships.c.team_id == team_id)
            .order_by(memberships.c.joined_at, memberships.c.user_id)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [MemberRecord(**row) for row in rows]

    async def add_member(self, team_id: str, user_id: str, role: str, time: datetime) -> None:
        """Add a user to a team.

        Raises:
            AlreadyMemberError: They are in it.
        """
        values = {"team_id": team_id, "user_id": user_id, "role": role, "joined_at": time}
        try:
            async with self._database.begin() as connection:
                _ = await connection.execute(insert(memberships).values(values))
        except IntegrityError as error:
            raise AlreadyMemberError(user_id) from error

    async def set_role(self, team_id: str, user_id: str, role: str) -> None:
        """Change the role of a member.

        Raises:
            LastOwnerError: They are the only owner.
        """
        async with self._database.begin() as connection:
            if role != "owner":
                await _keep_an_owner(connection, team_id, user_id)
            _ = await connection.execute(
                update(memberships).where(_is(team_id, user_id)).values(role=role)
            )

    async def remove_member(self, team_id: str, user_id: str) -> None:
        """Take a user out of a team.

        Raises:
            LastOwnerError: They are the only owner.
        """
        async with self._database.begin() as connection:
            await _keep_an_owner(connection, team_id, user_id)
            _ = await connection.execute(delete(memberships).where(_is(team_id, user_id)))

    async def _set(self, team_id: str, **values: object) -> None:
        async with self._database.begin() as connection:
            _ = await connection.execute(update(teams).where(teams.c.id == team_id).values(values))


def _is(team_id: str, user_id: str) -> ColumnElement[bool]:
    return and_(memberships.c.team_id == team_id, memberships.c.user_id == user_id)


async def _keep_an_owner(connection: AsyncConnection, team_id: str, user_id: str) -> None:
    # Locked, so that of two owners who leave at once one stays; SQLite has one writer anyway.
    query = (
        select(memberships.c.user_id)
        .where(memberships.c.team_id == team_id, memberships.c.role == "owner")
        .order_by(memberships.c.user_id)
        .with_for_update()
    )
    if list(await connection.scalars(query)) == [user_id]:
        raise LastOwnerError(user_id)
