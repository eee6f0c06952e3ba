"""The rows of users, teams, keys and the audit log, in every store."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_store import url

from benchmarks import lists
from sandlot.server.ids import new_id
from sandlot.server.services.accounts import new_team
from sandlot.server.store.base import Store
from sandlot.server.store.identity import AlreadyMemberError, EmailTakenError, LastOwnerError
from sandlot.server.store.identity_records import (
    DEFAULT_TEAM,
    LOCAL_USER,
    ApiKeyRecord,
    AuditFilter,
    AuditRecord,
    UserRecord,
)
from sandlot.server.store.opening import open_store

__all__ = ["url"]

NOW = datetime(2026, 11, 1, 9, 30, 0, 123456, tzinfo=UTC)
Scenario = Callable[[Store], Coroutine[None, None, None]]
Run = Callable[[Scenario], None]


@pytest.fixture
def run(url: str | None) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            store = await open_store(url)
            try:
                await store.teams.ensure(DEFAULT_TEAM, "Default", NOW)
                await scenario(store)
            finally:
                await store.close()

        asyncio.run(main())

    return run


def user(email: str, **fields: object) -> UserRecord:
    return replace(UserRecord(new_id("usr"), email, "Name", NOW), **fields)  # type: ignore[arg-type]


def audit(**fields: object) -> AuditRecord:
    record = AuditRecord(
        id=new_id("log"),
        team_id=DEFAULT_TEAM,
        actor_type="user",
        resource_type="sandbox",
        action="create",
        scope="team",
        status="success",
        created_at=NOW,
    )
    return replace(record, **fields)  # type: ignore[arg-type]


def test_users(run: Run) -> None:
    async def scenario(store: Store) -> None:
        local = user("local@localhost", id=LOCAL_USER, is_admin=True)
        for _ in range(2):
            await store.users.ensure(local, DEFAULT_TEAM)
        assert not await store.users.exist()
        first, team = user("b@example.org", password_hash="h"), new_team("B")
        assert await store.users.add_first(first, team, DEFAULT_TEAM)
        assert not await store.users.add_first(user("c@example.org"), new_team("C"), DEFAULT_TEAM)
        assert await store.users.exist()
        with pytest.raises(EmailTakenError):
            await store.users.add(user("b@example.org"), new_team("B"))
        second = user("a_c@example.org")
        await store.users.add(second, new_team("A"))
        assert await store.users.get(first.id) == first
        assert await store.users.find("b@example.org") == first
        assert await store.users.find("x@example.org") is None
        assert list(await store.users.list()) == [second, first]
        assert list(await store.users.search("a_c@", 10)) == [second]
        assert list(await store.users.search("a%@", 10)) == []
        assert list(await store.users.search("", 1)) == [second]
        changed = replace(first, status="disabled", key_version=2, name="Other")
        await store.users.save(changed)
        standing = await store.users.standing(first.id, team.id)
        assert standing is not None
        assert (standing.user, standing.team, standing.role) == (changed, team, "owner")
        assert await store.users.standing(first.id, new_id("team")) is None
        assert {each.team.id for each in await store.teams.of_user(first.id)} == {
            DEFAULT_TEAM,
            team.id,
        }

    run(scenario)


def test_teams_and_members(run: Run) -> None:
    async def scenario(store: Store) -> None:
        owner, member = user("a@example.org"), user("b@example.org")
        team = new_team("First")
        await store.users.add(owner, team)
        await store.users.add(member, new_team("Other"))
        await store.teams.add_member(team.id, member.id, "member", NOW + timedelta(days=9999))
        with pytest.raises(AlreadyMemberError):
            await store.teams.add_member(team.id, member.id, "admin", NOW)
        assert [each.email for each in await store.teams.members(team.id)] == [
            "a@example.org",
            "b@example.org",
        ]
        for attempt in (
            store.teams.remove_member(team.id, owner.id),
            store.teams.set_role(team.id, owner.id, "admin"),
        ):
            with pytest.raises(LastOwnerError):
                await attempt
        await store.teams.set_role(team.id, member.id, "owner")
        # Of two owners who go at once, one stays.
        gone = await asyncio.gather(
            store.teams.remove_member(team.id, owner.id),
            store.teams.set_role(team.id, member.id, "member"),
            return_exceptions=True,
        )
        assert [type(each) for each in gone].count(LastOwnerError) == 1
        await store.teams.rename(team.id, "Second")
        await store.teams.set_byoc(team.id, enabled=True)
        assert await store.teams.get(team.id) == replace(team, name="Second", is_byoc=True)
        key = ApiKeyRecord(new_id("key"), team.id, "k", "a" * 64, "wrn_000000", NOW)
        await store.keys.add(key)
        await store.teams.mark_deleted(team.id, NOW)
        assert await store.teams.get(team.id) is None
        assert await store.users.standing(owner.id, team.id) is None
        assert await store.keys.find("a" * 64) is None

    run(scenario)


def test_keys(run: Run) -> None:
    async def scenario(store: Store) -> None:
        maker = user("a@example.org")
        await store.users.add(maker, new_team("A"))
        old = ApiKeyRecord(
            new_id("key"),
            DEFAULT_TEAM,
            "old",
            "b" * 64,
            "wrn_000000",
            NOW,
            created_by=maker.id,
            scopes=("teams",),
            expires_at=NOW,
        )
        new = ApiKeyRecord(
            new_id("key"), DEFAULT_TEAM, "new", "c" * 64, "wrn_1", NOW + timedelta(microseconds=1)
        )
        for key in (old, new):
            await store.keys.add(key)
        assert await store.keys.find("b" * 64) == old
        assert list(await store.keys.list(DEFAULT_TEAM)) == [
            new,
            replace(old, creator_email="a@example.org"),
        ]
        assert await store.keys.remove(new_id("team"), old.id) is None
        assert await store.keys.remove(DEFAULT_TEAM, old.id) == old
        assert await store.keys.remove(DEFAULT_TEAM, old.id) is None
        assert await store.keys.find("b" * 64) is None

    run(scenario)


def test_the_audit_log(run: Run) -> None:
    async def scenario(store: Store) -> None:
        rows = [
            audit(
                created_at=NOW + timedelta(microseconds=n // 3),
                scope="admin" if n % 5 == 0 else "team",
                action=("create", "destroy")[n % 2],
                resource_type=("sandbox", "team", "member")[n % 3],
                metadata={"n": str(n), "text": "Zoë \u2028"},
            )
            for n in range(30)
        ]
        await store.audit.add(rows)
        expected = sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)

        async def found(**fields: object) -> list[AuditRecord]:
            wanted = AuditFilter(**fields)  # type: ignore[arg-type]
            return list(await store.audit.list(DEFAULT_TEAM, wanted))

        assert await found() == expected
        assert await found(limit=7) == expected[:7]
        walked: list[AuditRecord] = []
        before = None
        while page := await found(limit=4, before=before):
            walked += page
            before = (page[-1].created_at, page[-1].id)
        assert walked == expected
        assert await found(before=(NOW + timedelta(microseconds=3), "")) == [
            row for row in expected if row.created_at < NOW + timedelta(microseconds=3)
        ]
        assert await found(with_admin=False) == [row for row in expected if row.scope == "team"]
        assert await found(actions=("create",), resource_types=("team", "member")) == [
            row for row in expected if row.action == "create" and row.resource_type != "sandbox"
        ]
        assert list(await store.audit.list(new_id("team"), AuditFilter())) == []
        await store.audit.remove_before(NOW + timedelta(microseconds=9))
        assert await found() == expected[:3]

    run(scenario)


def test_lists_are_quick_and_use_indexes(tmp_path: Path) -> None:
    """With a thousand sandboxes and more of other things; `python -m benchmarks lists` shows it."""
    found = asyncio.run(lists.examine(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}", rounds=5))
    assert len(found) > 10
    for name, how in found.items():
        assert how.milliseconds < lists.LIMIT, f"{name}: {how.milliseconds:.1f} ms"
        for step in how.plan.splitlines():
            # Whatever is scanned, or sorted, would take longer with each row that others have.
            is_long = step.startswith("SCAN") and "USING INDEX" not in step
            is_long |= step == "USE TEMP B-TREE FOR ORDER BY"
            assert not is_long or name in SORTED, f"{name}: {step}"

    # What has ended, which there is more of every day, is not looked at for what lives.
    assert "INDEX uq_sandboxes_live_name (team_id=? AND name=?)" in found["sandboxes by name"].plan
    assert "INDEX ix_sandboxes_live_newest (team_id=?)" in found["sandboxes, all"].plan
    assert "(created_at,id)<" in found["sandboxes, a page"].plan


def test_lists_use_indexes_of_postgresql(empty_database: str) -> None:
    for name, how in asyncio.run(lists.examine(empty_database, rounds=1)).items():
        # It may read all of a small table to join it, but not to find what is wanted.
        assert "Index" in how.plan or name == "hosts of all", f"{name}:\n{how.plan}"


SORTED = (
    *("hosts of all", "hosts of a team", "members of a team", "API keys", "channels"),
    "sandboxes by name",
)
"""Lists of all that there is of a kind in a team (or of the whole platform), which is not much."""


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from sandlot.server.store.opening import open_store
from sandlot.server.store.identity_records import DEFAULT_TEAM, ApiKeyRecord
from sandlot.server.ids import new_id

async def write(store, number):
    for _ in range(10):
        key_id = new_id("key")
        key = ApiKeyRecord(key_id, DEFAULT_TEAM, "k", key_id * 2, "wrn", datetime.now(UTC))
        await store.keys.add(key)  # reads, then writes
        await store.keys.touch(key_id, datetime.now(UTC))

async def main():
    store = await open_store(sys.argv[1])
    await store.teams.ensure(DEFAULT_TEAM, "Default", datetime.now(UTC))
    await asyncio.gather(*(write(store, number) for number in range(10)))
    await store.close()

asyncio.run(main())
"""


def test_writers_of_several_processes_queue(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    # They make the tables at once, too.
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url], stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for writer in writers:
        _, problems = writer.communicate(timeout=100)
        assert writer.returncode == 0, problems.decode()
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        assert connection.execute("SELECT count(*) FROM api_keys").fetchone() == (200,)
