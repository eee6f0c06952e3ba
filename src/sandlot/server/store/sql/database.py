"""The database: opening it, bringing its schema up to date, transactions."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, event, insert, inspect, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from ..base import StoreUnavailableError
from .tables import HEAD, alembic_version, metadata

__all__ = ["Database"]

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An open database of the newest schema."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect, and make or migrate the tables."""
        sqlite = url.startswith("sqlite")
        # SQLite has one writer at a time: waiting for a connection is fairer and cheaper than for
        # its lock.
        pool = {"pool_size": 1, "max_overflow": 0} if sqlite else {}
        # What fails is logged, and there are secrets among the parameters.
        engine = create_async_engine(url, hide_parameters=True, **pool)
        if sqlite:
            _make_private(engine.url.database)
            event.listen(engine.sync_engine, "connect", _configure_sqlite)
        database = cls(engine)
        try:
            await database._prepare()
        except BaseException:
            await asyncio.shield(engine.dispose())
            raise
        return database

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction, committed at the end of the block."""
        async with self._engine.begin() as connection:
            yield connection

    async def _prepare(self) -> None:
        async with self.begin() as connection:
            found = await connection.run_sync(_revision)
            if found is None:
                await connection.run_sync(metadata.create_all)
                await connection.run_sync(alembic_version.create)
                _ = await connection.execute(insert(alembic_version).values(version_num=HEAD))
            elif found != HEAD:
                await connection.run_sync(_migrate)


def _make_private(file: str | None) -> None:
    """Make the file of a database that is not there yet: the environment of sandboxes is in it.

    SQLite would leave who may read it to the umask; the files beside it get the mode of this one.
    """
    if file and file != ":memory:":
        with contextlib.suppress(OSError):  # SQLite says better what is wrong
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _configure_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "busy_timeout=10000",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema, "" for tables of no known one, None without tables."""
    tables = set(inspect(connection).get_table_names())
    if alembic_version.name not in tables:
        return "" if tables & set(metadata.tables) else None
    return connection.scalar(select(alembic_version.c.version_num)) or ""


def _migrate(connection: Connection) -> None:
    """Run the migrations that are missing. Alembic is imported only here: it is slow to import."""
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnavailableError(f"the database cannot be migrated: {error}") from error
