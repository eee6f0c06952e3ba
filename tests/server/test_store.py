"""Both stores, held to the same behaviour, and the migrations of the one in a database."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from sandlot.server.ids import new_id
from sandlot.server.store.base import NameTakenError, Store, StoreUnavailableError
from sandlot.server.store.identity_records import ApiKeyRecord
from sandlot.server.store.opening import open_store
from sandlot.server.store.records import (
    IdempotencyRecord,
    SandboxFilter,
    SandboxRecord,
    StatsSample,
)
from sandlot.server.store.sql import database
from sandlot.server.store.sql.database import Database
from sandlot.server.store.sql.tables import HEAD, metadata

TEAM, OTHER = "team-" + "0" * 25, "team-" + "1" * 25
NOW = datetime(2026, 11, 1, 9, 30, 0, 123456, tzinfo=UTC)
Scenario = Callable[[Store], Coroutine[None, None, None]]
Run = Callable[[Scenario], None]


def url_of(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path / 'test.db'}"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Each kind of store, empty."""
    match request.param:
        case "memory":
            return None
        case "sqlite":
            return url_of(tmp_path)
        case _:
            return str(request.getfixturevalue("empty_database"))


@pytest.fixture
def run(url: str | None) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            store = await open_store(url)
            try:
                for team in (TEAM, OTHER):
                    await store.teams.ensure(team, "A team", NOW)
                await scenario(store)
            finally:
                await store.close()

        asyncio.run(main())

    return run


def sandbox(**fields: object) -> SandboxRecord:
    record = SandboxRecord(
        id=new_id("cl"),
        team_id=TEAM,
        status="running",
        template="minimal",
        vcpus=1,
        memory_mb=512,
        disk_mb=5120,
        timeout_sec=0,
        network="none",
        created_at=NOW,
        last_updated=NOW,
    )
    return replace(record, **fields)  # type: ignore[arg-type]


def test_sandboxes_come_back_as_they_were(run: Run) -> None:
    async def scenario(store: Store) -> None:
        plain = sandbox()
        full = sandbox(
            name="n",
            metadata={"a": "1"},
            env={"B": "2"},
            cwd="/tmp",
            on_timeout="destroy",
            max_lifetime_sec=60,
            lease_sec=30,
            lease_expires_at=NOW,
            snapshot="s",
            status_reason="because",
            started_at=NOW,
            last_active_at=NOW,
        )
        for record in (plain, full):
            await store.sandboxes.add(record)
            assert await store.sandboxes.get(TEAM, record.id) == record
            assert await store.sandboxes.get(OTHER, record.id) is None
        assert await store.sandboxes.get(TEAM, new_id("cl")) is None

    run(scenario)


def test_what_changes_of_a_sandbox_is_saved(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = sandbox()
        await store.sandboxes.add(record)
        later = NOW + timedelta(seconds=1)
        changed = replace(
            record,
            status="paused",
            status_reason="r",
            last_updated=later,
            lease_expires_at=later,
        )
        await store.sandboxes.save(changed)
        assert await store.sandboxes.get(TEAM, record.id) == changed
        await store.sandboxes.save_activity({record.id: later})
        expected = replace(changed, last_active_at=later)
        assert await store.sandboxes.get(TEAM, record.id) == expected

    run(scenario)


def test_what_is_gone_stays_gone(run: Run) -> None:
    """Whoever says so first: a server that was asleep changes nothing of it any more."""

    async def scenario(store: Store) -> None:
        record = sandbox(status="pending")
        await store.sandboxes.add(record)
        running = replace(record, status="running", started_at=NOW, host_id=new_id("host"))
        failed = replace(record, status="error", status_reason="r")
        assert await store.sandboxes.save(failed, only=("pending",))
        assert not await store.sandboxes.save(running)
        assert await store.sandboxes.get(TEAM, record.id) == failed
        other = sandbox(status="pending")
        await store.sandboxes.add(other)
        running = replace(running, id=other.id)
        assert await store.sandboxes.save(running)
        assert not await store.sandboxes.save(replace(failed, id=other.id), only=("pending",))
        assert await store.sandboxes.get(TEAM, other.id) == running

    run(scenario)


def test_names_are_unique_among_the_living(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first = sandbox(name="n")
        await store.sandboxes.add(first)
        with pytest.raises(NameTakenError):
            await store.sandboxes.add(sandbox(name="n", status="pending"))
        await store.sandboxes.add(sandbox(name="n", team_id=OTHER))
        await store.sandboxes.save(replace(first, status="stopped"))
        await store.sandboxes.add(sandbox(name="n"))

    run(scenario)


def test_lists(run: Run) -> None:
    async def scenario(store: Store) -> None:
        records = [
            sandbox(created_at=NOW + timedelta(microseconds=n // 2), metadata={"n": str(n)})
            for n in range(6)
        ]
        gone = sandbox(status="stopped", template="other", metadata={"n": "3"})
        for record in (*records, gone, sandbox(team_id=OTHER)):
            await store.sandboxes.add(record)
        expected = sorted(records, key=lambda row: (row.created_at, row.id), reverse=True)

        async def found(**fields: object) -> list[SandboxRecord]:
            wanted = SandboxFilter(**fields)  # type: ignore[arg-type]
            return list(await store.sandboxes.list(TEAM, wanted))

        assert await found() == expected
        assert await found(limit=4) == expected[:4]
        before = (expected[2].created_at, expected[2].id)
        assert await found(before=before) == expected[3:]
        assert await found(status="stopped") == [gone]
        assert await found(template="other") == []
        assert await found(metadata={"n": "3"}) == [records[3]]
        assert await found(metadata={"n": "3"}, status="stopped") == [gone]
        assert await found(metadata={"n": "3", "m": "1"}) == []
        assert await found(name="nobody") == []

    run(scenario)


def test_all_the_living_are_marked_gone(run: Run) -> None:
    async def scenario(store: Store) -> None:
        living = [sandbox(status=status) for status in ("pending", "running", "paused")]
        dead = [sandbox(status=status) for status in ("stopped", "error")]
        for record in (*living, *dead):
            await store.sandboxes.add(record)
        later = NOW + timedelta(seconds=1)
        assert await store.sandboxes.mark_gone("why", later) == 3
        for record in living:
            expected = replace(record, status="stopped", status_reason="why", last_updated=later)
            assert await store.sandboxes.get(TEAM, record.id) == expected
        for record in dead:
            assert await store.sandboxes.get(TEAM, record.id) == record
        assert await store.sandboxes.mark_gone("again", later) == 0

    run(scenario)


def test_keys(run: Run) -> None:
    async def scenario(store: Store) -> None:
        assert not await store.keys.exist()
        key = ApiKeyRecord(new_id("key"), TEAM, "Name", "h" * 64, "wrn_000000", NOW)
        await store.keys.add(key)
        await store.keys.add(replace(key, id=new_id("key")))  # the same hash: left alone
        assert await store.keys.exist()
        assert await store.keys.find("h" * 64) == key
        assert await store.keys.find("x" * 64) is None
        await store.keys.touch(key.id, NOW)
        assert await store.keys.find("h" * 64) == replace(key, last_used=NOW)

    run(scenario)


def test_idempotency_keys(run: Run) -> None:
    async def scenario(store: Store) -> None:
        rows = store.idempotency
        record = IdempotencyRecord(TEAM, "me", "key", "f" * 64, new_id("cl"), NOW, "salt")
        newer = replace(
            record,
            fingerprint="g" * 64,
            resource_id=new_id("cl"),
            created_at=NOW + timedelta(days=1),
        )
        assert await rows.claim(record, NOW) == record
        assert await rows.claim(newer, NOW) == record
        others = [replace(newer, owner="you"), replace(newer, team_id=OTHER)]
        assert [await rows.claim(each, NOW) for each in others] == others
        await rows.finish(newer)  # not the one that has the key
        assert await rows.claim(newer, NOW) == record
        await rows.finish(record)
        done = replace(record, is_done=True)
        assert await rows.claim(newer, NOW) == done
        # One that is too old counts no more.
        assert await rows.claim(newer, NOW + timedelta(seconds=1)) == newer
        assert not await rows.remove(record)
        assert await rows.claim(record, NOW) == newer
        await rows.remove_before(NOW + timedelta(days=2))
        assert await rows.claim(record, NOW) == record
        assert await rows.remove(record)
        assert await rows.claim(newer, NOW) == newer

    run(scenario)


def test_claims_are_held_and_taken_over(run: Run) -> None:
    async def scenario(store: Store) -> None:
        rows, later = store.idempotency, NOW + timedelta(seconds=9)
        nobodys = IdempotencyRecord(TEAM, "me", "key", "f" * 64, new_id("cl"), NOW, "salt")
        ours = replace(nobodys, holder="host-a", held_until=NOW)
        theirs = replace(nobodys, holder="host-b", held_until=later)
        assert await rows.claim(nobodys, NOW) == nobodys
        assert not await rows.take(ours, theirs)  # it is not ours
        assert await rows.take(nobodys, ours)
        assert not await rows.take(nobodys, theirs)  # somebody was faster
        assert await rows.hold(ours, later)
        assert not await rows.take(ours, theirs)  # its holder has extended it
        extended = replace(ours, held_until=later)
        assert await rows.claim(theirs, NOW) == extended
        assert await rows.take(extended, theirs)
        for lost in (ours, extended):
            assert not await rows.hold(lost, NOW)
            assert not await rows.remove(lost)
        assert await rows.claim(ours, NOW) == theirs
        await rows.finish(ours)  # whoever holds it: the thing is there
        done = replace(theirs, is_done=True)
        assert await rows.claim(ours, NOW) == done
        renamed = replace(theirs, resource_id=new_id("cl"), created_at=later)
        assert await rows.take(done, renamed)
        assert await rows.claim(ours, NOW) == renamed
        for other in (done, replace(renamed, owner="you"), replace(renamed, key="other")):
            assert not await rows.hold(other, NOW)
            assert not await rows.remove(other)
        assert await rows.remove(renamed)
        assert await rows.claim(ours, NOW) == ours

    run(scenario)


def test_stats(run: Run) -> None:
    async def scenario(store: Store) -> None:
        rows = store.stats
        for second, running in ((100, 1), (105, 5), (112, 2), (131, 3)):
            await rows.add({TEAM: StatsSample(second, running, 10 - running, 100)})
        await rows.add({OTHER: StatsSample(100, 9, 9, 9)})
        assert await rows.peaks(TEAM, 0) == StatsSample(0, 5, 9, 100)
        assert await rows.peaks(TEAM, 110) == StatsSample(110, 3, 8, 100)
        assert await rows.peaks(TEAM, 1000) == StatsSample(1000, 0, 0, 0)
        assert list(await rows.series(TEAM, 0, 10)) == [
            StatsSample(100, 5, 9, 100),
            StatsSample(110, 2, 8, 100),
            StatsSample(130, 3, 7, 100),
        ]
        await rows.remove_before(112)
        assert [sample.sampled_at for sample in await rows.series(TEAM, 0, 1)] == [112, 131]

    run(scenario)


def _open_and_close(path: Path) -> None:
    async def main() -> None:
        await (await Database.open(url_of(path))).close()

    asyncio.run(main())


def _differences(path: Path) -> list[object]:
    engine = create_engine(f"sqlite:///{path / 'test.db'}")
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert context.get_current_revision() == HEAD
            differences: list[object] = compare_metadata(context, metadata)
            # What is not compared: whether indexes are partial.
            query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            indexes = connection.exec_driver_sql(query).scalars()
            return [*differences, *sorted(" ".join(sql.split()) for sql in indexes)]
    finally:
        engine.dispose()


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    fresh, migrated = tmp_path / "fresh", tmp_path / "migrated"
    for path in (fresh, migrated):
        path.mkdir()
    with closing(sqlite3.connect(migrated / "test.db")) as connection:
        _ = connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.commit()
    _open_and_close(fresh)
    _open_and_close(migrated)
    assert _differences(migrated) == _differences(fresh)
    assert not [each for each in _differences(fresh) if not isinstance(each, str)]


def test_the_newest_migration_is_known() -> None:
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    assert scripts.get_heads() == [HEAD]


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    _open_and_close(tmp_path)
    before = _differences(tmp_path)
    _open_and_close(tmp_path)
    assert _differences(tmp_path) == before


@pytest.mark.parametrize("made", ["by-a-newer-version", "by-nobody"])
def test_what_cannot_be_opened(tmp_path: Path, made: str) -> None:
    if made == "by-nobody":
        (tmp_path / "test.db").write_bytes(b"this is no database at all" * 100)
    else:
        _open_and_close(tmp_path)
        with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
            _ = connection.execute("UPDATE alembic_version SET version_num = 'newer'")
            connection.commit()
    with pytest.raises(StoreUnavailableError) as caught:
        _ = asyncio.run(open_store(url_of(tmp_path)))
    assert "\n" not in str(caught.value)


def test_nobody_else_can_read_the_database(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    umask = os.umask(0)

    def modes() -> set[int]:
        return {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    async def main() -> None:
        opened = await Database.open(url_of(tmp_path))
        assert modes() == {0o600}
        await opened.close()

    try:
        asyncio.run(main())
    finally:
        _ = os.umask(umask)


def test_sqlite_is_set_up(tmp_path: Path) -> None:
    async def main() -> list[object]:
        opened = await Database.open(url_of(tmp_path))
        try:
            async with opened.begin() as connection:
                return [
                    (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                    for name in ("journal_mode", "foreign_keys", "busy_timeout")
                ]
        finally:
            await opened.close()

    assert asyncio.run(main()) == ["wal", 1, 10000]
