"""Queries about API keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import RowMapping, delete, select, update

from ..identity_records import ApiKeyRecord
from .database import Database, insert_missing
from .tables import api_keys, teams, users

__all__ = ["SqlKeys"]


class SqlKeys:
    """The rows of API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exist(self) -> bool:
        """Tell whether there is any API key."""
        async with self._database.read() as connection:
            return await connection.scalar(select(api_keys.c.id).limit(1)) is not None

    async def add(self, key: ApiKeyRecord) -> None:
        """Add an API key; one that is known already is left alone."""
        values = {column.name: getattr(key, column.name) for column in api_keys.columns}
        values["scopes"] = None if key.scopes is None else list(key.scopes)
        async with self._database.begin() as connection:
            _ = await connection.execute(insert_missing(connection, api_keys).values(values))

    async def find(self, hash: str) -> ApiKeyRecord | None:
        """Return the API key with this hash, unless its team was deleted."""
        query = (
            select(api_keys)
            .join(teams, teams.c.id == api_keys.c.team_id)
            .where(api_keys.c.hash == hash, teams.c.deleted_at.is_(None))
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _record(row)

    async def touch(self, key_id: str, time: datetime) -> None:
        """Note when an API key was used."""
        async with self._database.begin() as connection:
            _ = await connection.execute(
                update(api_keys).where(api_keys.c.id == key_id).values(last_used=time)
            )

    async def list(self, team_id: str) -> Sequence[ApiKeyRecord]:
        """Return the API keys of a team, newest first, with the addresses of their makers."""
        query = (
            select(*api_keys.columns, users.c.email.label("creator_email"))
            .join_from(api_keys, users, users.c.id == api_keys.c.created_by, isouter=True)
            .where(api_keys.c.team_id == team_id)
            .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_record(row) for row in rows]

    async def remove_made_by(self, user_id: str) -> None:
        """Remove the API keys that a user made, of whichever team."""
        async with self._database.begin() as connection:
            _ = await connection.execute(delete(api_keys).where(api_keys.c.created_by == user_id))

    async def remove(self, team_id: str, key_id: str) -> ApiKeyRecord | None:
        """Remove an API key of a team, and return it."""
        wanted = (api_keys.c.team_id == team_id, api_keys.c.id == key_id)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(api_keys).where(*wanted))).mappings().first()
            if row is None:
                return None
            _ = await connection.execute(delete(api_keys).where(*wanted))
        return _record(row)


def _record(row: RowMapping) -> ApiKeyRecord:
    scopes: list[str] | None = row["scopes"]
    return replace(ApiKeyRecord(**row), scopes=None if scopes is None else tuple(scopes))
