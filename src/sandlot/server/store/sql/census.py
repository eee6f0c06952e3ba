"""Queries about all teams and all users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Column, Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..census import TeamOverview, UserOverview
from ..identity_records import LOCAL_USER, TeamRecord, UserRecord
from ..records import LIVE_STATUSES
from .database import Database
from .tables import channels, memberships, sandboxes, teams, users

__all__ = ["SqlCensus"]

_OWNER: Final = "owner"


class SqlCensus:
    """Teams and users, whoever they belong to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_teams(self) -> int:
        """Return how many teams there are, with those that were deleted."""
        return await self._count(select(func.count()).select_from(teams))

    async def teams(self, limit: int, offset: int) -> Sequence[TeamOverview]:
        """Return some of them, oldest first."""
        page = select(teams).order_by(teams.c.created_at, teams.c.id).limit(limit).offset(offset)
        async with self._database.read() as connection:
            found = [TeamRecord(**row) for row in (await connection.execute(page)).mappings()]
            ids = [team.id for team in found]
            live = _counts(sandboxes, ids).where(sandboxes.c.status.in_(LIVE_STATUSES))
            members = await _numbers(connection, _counts(memberships, ids))
            living = await _numbers(connection, live)
            told = await _numbers(connection, _counts(channels, ids))
            owners = {
                row["team_id"]: UserRecord(
                    **{column.name: row[column.name] for column in users.columns}
                )
                for row in (await connection.execute(_owners(ids))).mappings()
            }
        return [
            TeamOverview(
                team,
                members.get(team.id, 0),
                owners.get(team.id),
                living.get(team.id, 0),
                told.get(team.id, 0),
            )
            for team in found
        ]

    async def count_users(self) -> int:
        """Return how many users there are, without the local one."""
        return await self._count(
            select(func.count()).select_from(users).where(users.c.id != LOCAL_USER)
        )

    async def users(self, limit: int, offset: int) -> Sequence[UserOverview]:
        """Return some of them, oldest first."""
        page = (
            select(users)
            .where(users.c.id != LOCAL_USER)
            .order_by(users.c.created_at, users.c.id)
            .limit(limit)
            .offset(offset)
        )
        async with self._database.read() as connection:
            found = [UserRecord(**row) for row in (await connection.execute(page)).mappings()]
            ids = [user.id for user in found]
            joined = await _numbers(connection, _standings(ids))
            owner = _standings(ids).where(memberships.c.role == _OWNER)
            owned = await _numbers(connection, owner)
        return [UserOverview(user, joined.get(user.id, 0), owned.get(user.id, 0)) for user in found]

    async def _count(self, query: Select[int]) -> int:
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0


async def _numbers(connection: AsyncConnection, query: Select[str, int]) -> dict[str, int]:
    """Return what a query for pairs found."""
    return {row[0]: row[1] for row in await connection.execute(query)}


def _counts(table: Table, team_ids: Sequence[str]) -> Select[str, int]:
    """Return the query for how many rows of a table these teams have."""
    team: Column[str] = table.c.team_id
    return select(team, func.count()).where(team.in_(team_ids)).group_by(team)


def _standings(user_ids: Sequence[str]) -> Select[str, int]:
    """Return the query for in how many teams these users are that were not deleted."""
    user: Column[str] = memberships.c.user_id
    return (
        select(user, func.count())
        .join(teams, teams.c.id == memberships.c.team_id)
        .where(user.in_(user_ids), teams.c.deleted_at.is_(None))
        .group_by(user)
    )


def _owners(team_ids: Sequence[str]) -> Select[tuple[object, ...]]:
    """Return the query for the owners of teams; of several the last one is the oldest."""
    return (
        select(memberships.c.team_id, *users.columns)
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.team_id.in_(team_ids), memberships.c.role == _OWNER)
        .order_by(memberships.c.joined_at.desc(), memberships.c.user_id.desc())
    )
