"""Databases of every schema that there ever was, with rows in them, become today's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from contract import Contract
from harness import ServerProcess, client_of
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from sandlot.server.ids import new_id
from sandlot.server.services.api_keys import key_record, new_key
from sandlot.server.store.base import Store
from sandlot.server.store.channels import DeliveryFilter
from sandlot.server.store.identity_records import DEFAULT_TEAM, LOCAL_USER, AuditFilter, UserRecord
from sandlot.server.store.opening import open_store
from sandlot.server.store.records import IdempotencyRecord, SandboxFilter
from sandlot.server.store.sql import database as module
from sandlot.server.store.sql.tables import UtcTime, metadata

NOW = datetime(2026, 11, 1, 9, 30, 0, 123456, tzinfo=UTC)
SCRIPTS = str(Path(module.__file__).parent / "migrations")
REVISIONS = [each.revision for each in ScriptDirectory(SCRIPTS).walk_revisions()][::-1]
TEXTS: dict[str, Any] = {
    "teams.id": DEFAULT_TEAM,
    "teams.deleted_at": None,
    "users.email": "ada@example.org",
    "sandboxes.status": "running",
    "sandbox_labels.key": "color",
    "sandbox_labels.value": "blue",
    "sandboxes.metadata": {"color": "blue"},
    "api_keys.scopes": ["teams"],
    "audit_log.metadata": {"name": "Zoë"},
    "channels.events": ["host.up"],
    "channels.config": {"url": "https://example.com"},
}
"""What matters of the rows; the rest is made up."""
Row = dict[str, Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("new_database")())


@pytest.fixture(params=["sqlite", "postgresql"])
def empties(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """One for each revision."""
    if request.param == "sqlite":
        return [f"sqlite+aiosqlite:///{tmp_path / name}.db" for name in REVISIONS]
    return [str(request.getfixturevalue("new_database")()) for _ in REVISIONS]


class connected:  # noqa: N801
    """A connection to a database, in a transaction."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url)
        self._begun = self._engine.begin()

    async def __aenter__(self) -> AsyncConnection:
        return await self._begun.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._begun.__aexit__(*exc_info)
        await self._engine.dispose()


def upgrade(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def made_up(column: sa.Column[Any], rows: dict[str, Row]) -> Any:
    """Return a value for a column."""
    if (name := str(column)) in TEXTS:
        return TEXTS[name]
    for key in column.foreign_keys:
        return rows[key.column.table.name][key.column.name]
    match column.type:
        case UtcTime():
            return NOW
        case sa.Date():
            return NOW.date()
        case sa.JSON():
            return {"a": "é"}
        case sa.Boolean():
            return True
        case sa.Integer() | sa.Float():
            return 7
        case sa.String(length=length):
            return f"{column.name} of {column.table.name}"[:length]
        case other:
            raise AssertionError(f"{name}: what is a {other!r}?")


def tables_of(connection: sa.Connection) -> list[sa.TableClause]:
    """Return the tables that there are, with the columns that there are."""
    there = sa.inspect(connection)
    names = set(there.get_table_names())
    return [
        sa.table(
            table.name,
            *(
                sa.column(each["name"], table.c[each["name"]].type)
                for each in there.get_columns(table.name)
            ),
        )
        for table in metadata.sorted_tables
        if table.name in names
    ]


def fill(connection: sa.Connection) -> dict[str, Row]:
    """Write a row into every table, and return them."""
    whole: dict[str, Row] = {}
    for table in metadata.sorted_tables:
        whole[table.name] = {}
        whole[table.name] |= {each.name: made_up(each, whole) for each in table.columns}
    rows: dict[str, Row] = {}
    for table in tables_of(connection):
        rows[table.name] = {each.name: whole[table.name][each.name] for each in table.columns}
        _ = connection.execute(sa.insert(table).values(rows[table.name]))
    return rows


def found(connection: sa.Connection) -> dict[str, Row]:
    """Return the rows that are there, one of each table at most."""
    rows: dict[str, Row] = {}
    for table in tables_of(connection):
        every = connection.execute(sa.select(table)).mappings().all()
        assert len(every) <= 1
        if every:
            rows[table.name] = dict(every[0])
    return rows


def differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def test_every_schema_becomes_the_newest_with_its_rows(empties: list[str]) -> None:
    async def main() -> None:
        for revision, empty in zip(REVISIONS, empties, strict=True):
            async with connected(empty) as connection:
                await connection.run_sync(upgrade, revision)
                rows = await connection.run_sync(fill)
            store = await open_store(empty)
            try:
                await read(store, rows)
            finally:
                await store.close()
            async with connected(empty) as connection:
                after = await connection.run_sync(found)
                assert await connection.run_sync(differences) == [], revision
            for table, row in rows.items():
                assert row.items() <= after[table].items(), f"{table} of {revision}"

    asyncio.run(main())


async def read(store: Store, rows: dict[str, Row]) -> None:
    """Today's code reads what was written then."""
    (box,) = await store.sandboxes.list(DEFAULT_TEAM, SandboxFilter(metadata={"color": "blue"}))
    assert (box.id, box.created_at) == (rows["sandboxes"]["id"], NOW)
    assert box.on_timeout == rows["sandboxes"].get("on_timeout", "pause")
    key = await store.keys.find(rows["api_keys"]["hash"])
    assert key is not None
    assert key.id == rows["api_keys"]["id"]
    team = await store.teams.get(DEFAULT_TEAM)
    assert team is not None
    assert team.slug
    assert (await store.stats.peaks(DEFAULT_TEAM, 0)).running == 7
    asked = rows["idempotency_keys"]
    again = IdempotencyRecord(
        DEFAULT_TEAM,
        asked.get("owner", "whoever it was"),
        asked["key"],
        "x",
        "y",
        NOW + timedelta(hours=1),
    )
    known = await store.idempotency.claim(again, NOW)
    assert (known.resource_id, known.fingerprint) == (asked["resource_id"], asked["fingerprint"])
    if "snapshots" in rows:
        (checkpoint,) = await store.snapshots.checkpoints(box.id)
        assert checkpoint.id == rows["snapshots"]["id"]
    if "deliveries" in rows:
        (channel,) = await store.channels.list(DEFAULT_TEAM)
        assert channel.config == {"url": "https://example.com"}
        assert len(await store.deliveries.list(channel.id, DeliveryFilter())) == 1
    if "users" in rows:
        user = await store.users.find("ada@example.org")
        assert user is not None
        assert user.created_at == NOW
        assert await store.users.standing(user.id, DEFAULT_TEAM) is not None
        (entry,) = await store.audit.list(DEFAULT_TEAM, AuditFilter())
        assert entry.metadata == {"name": "Zoë"}


def test_many_make_the_tables_at_once(empty: str) -> None:
    """And what every server needs: a team, a user, a key."""
    key = key_record(new_key(), DEFAULT_TEAM, "k", None, None)

    async def begin() -> None:
        store = await open_store(empty)
        try:
            await store.teams.ensure(DEFAULT_TEAM, "Default", NOW)
            await store.users.ensure(UserRecord(LOCAL_USER, "l@l", "L", NOW), DEFAULT_TEAM)
            await store.keys.add(key)
            await store.keys.add(key_record(new_key(), DEFAULT_TEAM, new_id("k"), None, None))
        finally:
            await store.close()

    async def main() -> int:
        _ = await asyncio.gather(*(begin() for _ in range(6)))
        store = await open_store(empty)
        keys = await store.keys.list(DEFAULT_TEAM)
        await store.close()
        return len(keys)

    assert asyncio.run(main()) == 7


def test_servers_start_at_once_on_one_database(
    empty: str, tmp_path: Path, contract: Contract
) -> None:
    def start(name: str) -> ServerProcess:
        options = {"engine": "process", "database_url": empty, "signup": "open"}
        return ServerProcess(tmp_path / name, **options)

    with ThreadPoolExecutor(2) as pool:
        servers = list(pool.map(start, ["one", "two"]))
    try:
        for server in servers:
            with client_of(server, contract) as client:
                assert client.get("/v1/sandboxes").json() == []
    finally:
        assert [server.stop() for server in servers] == [0, 0]
    assert not [line for server in servers for line in server.lines if line["level"] == "error"]


def test_claims_of_several_servers(empty: str) -> None:
    """One of those who claim a key at the same time gets it, and the others hear of it."""

    async def main() -> None:
        stores = [await open_store(empty) for _ in range(2)]
        await stores[0].teams.ensure(DEFAULT_TEAM, "Default", NOW)
        for number in range(10):
            claims: list[Coroutine[Any, Any, IdempotencyRecord]] = [
                store.idempotency.claim(
                    IdempotencyRecord(DEFAULT_TEAM, "me", f"k{number}", "f", new_id("cl"), NOW),
                    NOW,
                )
                for store in stores * 4
            ]
            assert len({row.resource_id for row in await asyncio.gather(*claims)}) == 1
        for store in stores:
            await store.close()

    asyncio.run(main())
