"""Queries about users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from sqlalchemy import RowMapping, Select, delete, exists, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..identity import EmailTakenError
from ..identity_records import LOCAL_USER, Standing, TeamRecord, UserRecord
from .database import Database, insert_missing
from .tables import api_keys, memberships, teams, users

__all__ = ["SqlUsers", "standing_of", "standings"]

_LAST_CHARACTER = "\U0010ffff"
_SETTABLE = ("name", "password_hash", "status", "key_version", "is_admin")
_USER: Final = "user_"
_TEAM: Final = "team_"


class SqlUsers:
    """The rows of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: UserRecord, team: TeamRecord) -> None:
        """Add a user and a team of which they are the owner.

        Raises:
            EmailTakenError: There is a user with this address.
        """
        try:
            async with self._database.begin() as connection:
                await _add(connection, user, team)
        except IntegrityError as error:
            raise EmailTakenError(user.email) from error

    async def add_first(self, user: UserRecord, team: TeamRecord, heritage: str) -> bool:
        """Do that if there is no user yet but the local one; return whether it was done."""
        async with self._database.begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                _ = await connection.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
            if await _any(connection):
                return False
            await _add(connection, user, team)
            _ = await connection.execute(
                insert(memberships).values(
                    team_id=heritage, user_id=user.id, role="owner", joined_at=team.created_at
                )
            )
        return True

    async def ensure(self, user: UserRecord, team_id: str) -> None:
        """See to it that a user is there, and an owner of a team that is there."""
        async with self._database.begin() as connection:
            _ = await connection.execute(insert_missing(connection, users).values(asdict(user)))
            _ = await connection.execute(
                insert_missing(connection, memberships).values(
                    team_id=team_id, user_id=user.id, role="owner", joined_at=user.created_at
                )
            )

    async def exist(self) -> bool:
        """Tell whether there is any user but the local one."""
        async with self._database.read() as connection:
            return await _any(connection)

    async def get(self, user_id: str) -> UserRecord | None:
        """Return the user of this id."""
        return await self._one(select(users).where(users.c.id == user_id))

    async def find(self, email: str) -> UserRecord | None:
        """Return the user with this address, which is in lower case."""
        return await self._one(select(users).where(users.c.email == email))

    async def save(self, user: UserRecord) -> None:
        """Write what can change of a user: password, status, version, administration, name."""
        values = {name: getattr(user, name) for name in _SETTABLE}
        async with self._database.begin() as connection:
            _ = await connection.execute(update(users).where(users.c.id == user.id).values(values))

    async def remove(self, user_id: str) -> None:
        """Remove a user, their memberships, and the API keys that they made."""
        async with self._database.begin() as connection:
            _ = await connection.execute(delete(api_keys).where(api_keys.c.created_by == user_id))
            _ = await connection.execute(delete(users).where(users.c.id == user_id))

    async def search(self, prefix: str, limit: int) -> Sequence[UserRecord]:
        """Return users whose address begins like this, in order of addresses."""
        column = users.c.email
        return await self._many(
            select(users)
            .where(column >= prefix, column < prefix + _LAST_CHARACTER, users.c.id != LOCAL_USER)
            .order_by(column)
            .limit(limit)
        )

    async def list(self) -> Sequence[UserRecord]:
        """Return all users but the local one, in order of addresses."""
        return await self._many(
            select(users).where(users.c.id != LOCAL_USER).order_by(users.c.email)
        )

    async def standing(self, user_id: str, team_id: str) -> Standing | None:
        """Return what a user is in a team; None if they or the team are gone, or not together."""
        query = standings().where(
            memberships.c.user_id == user_id, memberships.c.team_id == team_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else standing_of(row)

    async def _one(self, query: Select[tuple[object, ...]]) -> UserRecord | None:
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else UserRecord(**row)

    async def _many(self, query: Select[tuple[object, ...]]) -> Sequence[UserRecord]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [UserRecord(**row) for row in rows]


def standings() -> Select[tuple[object, ...]]:
    """Return the query for what users are in teams that were not deleted."""
    return (
        select(
            memberships.c.role,
            *(column.label(_USER + column.name) for column in users.columns),
            *(column.label(_TEAM + column.name) for column in teams.columns),
        )
        .join_from(memberships, users, users.c.id == memberships.c.user_id)
        .join(teams, teams.c.id == memberships.c.team_id)
        .where(teams.c.deleted_at.is_(None))
    )


def standing_of(row: RowMapping) -> Standing:
    """Return a row of that query."""
    user = UserRecord(**{column.name: row[_USER + column.name] for column in users.columns})
    team = TeamRecord(**{column.name: row[_TEAM + column.name] for column in teams.columns})
    return Standing(user, team, row["role"])


async def _any(connection: AsyncConnection) -> bool:
    found = await connection.scalar(select(exists().where(users.c.id != LOCAL_USER)))
    return bool(found)


async def _add(connection: AsyncConnection, user: UserRecord, team: TeamRecord) -> None:
    _ = await connection.execute(insert(users).values(asdict(user)))
    _ = await connection.execute(insert(teams).values(asdict(team)))
    _ = await connection.execute(
        insert(memberships).values(
            team_id=team.id, user_id=user.id, role="owner", joined_at=team.created_at
        )
    )
