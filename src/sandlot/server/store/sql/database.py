"""The database: opening it, bringing its schema up to date, transactions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, Insert, Table, event, func, insert, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from ..base import StoreUnavailableError
from .tables import HEAD, alembic_version, metadata

__all__ = ["Database", "insert_missing"]

_READS = "sandlot_reads"
_ATTEMPTS = 6
_LOCK = 0x73616E646C6F74  # of PostgreSQL, for the schema
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An open database of the newest schema."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{_READS: True})

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect, and make or migrate the tables."""
        sqlite = url.startswith("sqlite")
        # SQLite has one writer at a time: waiting for a connection is fairer and cheaper than for
        # its lock.
        pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 120} if sqlite else {}
        # What fails is logged, and there are secrets among the parameters.
        engine = create_async_engine(url, hide_parameters=True, **pool)
        if sqlite:
            _make_private(engine.url.database)
            event.listen(engine.sync_engine, "connect", _configure_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
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

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that writes nothing, and keeps no other process from writing."""
        async with self._reader.begin() as connection:
            yield connection

    async def _prepare(self) -> None:
        async with self.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Servers that start at once make the tables one after the other. (With SQLite they
                # do anyway, as it has one writer.)
                _ = await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            found = await connection.run_sync(_revision)
            if found is None:
                await connection.run_sync(metadata.create_all)
                await connection.run_sync(alembic_version.create)
                _ = await connection.execute(insert(alembic_version).values(version_num=HEAD))
            elif found != HEAD:
                await connection.run_sync(_migrate)


def insert_missing(connection: AsyncConnection, table: Table) -> Insert:
    """Return a statement that inserts a row unless there is one with a key like it."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def _make_private(file: str | None) -> None:
    """Make the file of a database that is not there yet: the environment of sandboxes is in it.

    SQLite would leave who may read it to the umask; the files beside it get the mode of this one.

    Raises:
        StoreUnavailableError: It cannot be made.
    """
    if file and file != ":memory:":
        try:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailableError(
                f"the database cannot be used: {file}: {error.strerror}"
            ) from error


def _configure_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Transactions begin when `_begin_sqlite` says so, not when the driver thinks it is time.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout=10000",  # first: the next one may have to wait already
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction, as the only writer unless it only reads.

    One that became a writer later might find that another process has written since it began; then
    it would fail at once, however long it was ready to wait (SQLITE_BUSY_SNAPSHOT).
    """
    if connection.get_execution_options().get(_READS):
        _ = connection.exec_driver_sql("BEGIN")
        return
    for left in reversed(range(_ATTEMPTS)):
        try:
            _ = connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            # Waiting for the lock is not fair: the unlucky one queues again.
            if left == 0 or "locked" not in str(error.orig):
                raise
        else:
            return


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
