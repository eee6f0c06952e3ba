"""Queries about teams and their API keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update

from ..records import ApiKeyRecord
from .database import Database
from .tables import api_keys, teams

__all__ = ["SqlTeams"]


class SqlTeams:
    """The rows of teams and API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self, team_id: str, name: str, time: datetime) -> None:
        """Make a team, unless it is there."""
        async with self._database.begin() as connection:
            if await connection.scalar(select(teams.c.id).where(teams.c.id == team_id)) is None:
                _ = await connection.execute(
                    insert(teams).values(id=team_id, name=name, created_at=time)
                )

    async def has_keys(self) -> bool:
        """Tell whether there is any API key."""
        async with self._database.begin() as connection:
            return await connection.scalar(select(api_keys.c.id).limit(1)) is not None

    async def add_key(self, key: ApiKeyRecord) -> None:
        """Add an API key; one that is known already is left alone."""
        values = {column.name: getattr(key, column.name) for column in api_keys.columns}
        async with self._database.begin() as connection:
            known = await connection.scalar(
                select(api_keys.c.id).where(api_keys.c.hash == key.hash)
            )
            if known is None:
                _ = await connection.execute(insert(api_keys).values(values))

    async def find_key(self, hash: str) -> ApiKeyRecord | None:
        """Return the API key with this hash."""
        async with self._database.begin() as connection:
            query = select(api_keys).where(api_keys.c.hash == hash)
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else ApiKeyRecord(**row)

    async def touch_key(self, key_id: str, time: datetime) -> None:
        """Note when an API key was used."""
        async with self._database.begin() as connection:
            _ = await connection.execute(
                update(api_keys).where(api_keys.c.id == key_id).values(last_used=time)
            )
