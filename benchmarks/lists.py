"""Lists out of full tables, in every database, and how the databases go about them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.report import Row
from sandlot.server.ids import new_id
from sandlot.server.services.accounts import new_team
from sandlot.server.store.builds import BuildRecord
from sandlot.server.store.channels import ChannelRecord, DeliveryFilter
from sandlot.server.store.hosts import HostRecord
from sandlot.server.store.identity_records import (
    DEFAULT_TEAM,
    ApiKeyRecord,
    AuditFilter,
    AuditRecord,
    UserRecord,
)
from sandlot.server.store.records import SandboxFilter, SandboxRecord, SnapshotRecord
from sandlot.server.store.sql.store import SqlStore
from sandlot.server.store.sql.tables import audit_log, metadata, sandbox_labels, sandboxes

LIMIT = 50.0
"""Milliseconds that a list may take."""
AUDITED, SANDBOXES, TEAMS, OTHERS = 10_000, 1_000, 100, 1_000
NOW = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
ROUNDS = 20
Lists = Mapping[str, Callable[[], Awaitable[Any]]]


@dataclass(frozen=True)
class Found:
    """What a list took, and how the database did it."""

    milliseconds: float
    plan: str


def later(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


async def fill(store: SqlStore) -> UserRecord:
    """Write the rows; return a user who is in all teams."""
    await store.teams.ensure(DEFAULT_TEAM, "Default", NOW)
    person = UserRecord(new_id("usr"), "a@example.org", "Name", NOW)
    await store.users.add(person, new_team("Own"))
    for number in range(TEAMS):
        await store.teams.add(new_team(f"Team {number}"), person.id)
        other = UserRecord(new_id("usr"), f"u{number}@example.org", "Name", NOW)
        await store.users.add(other, new_team("Own"))
        await store.teams.add_member(DEFAULT_TEAM, other.id, "member", NOW)
    async with store._database.begin() as connection:
        rows = [asdict(sandbox(number)) for number in range(SANDBOXES)]
        _ = await connection.execute(sa.insert(sandboxes), rows)
        labels = [{"sandbox_id": row["id"], "key": "n", "value": row["name"]} for row in rows]
        _ = await connection.execute(sa.insert(sandbox_labels), labels)
        entries = [asdict(entry(number)) for number in range(AUDITED)]
        _ = await connection.execute(sa.insert(audit_log), entries)
        snapshots = [asdict(snapshot(number)) for number in range(OTHERS)]
        _ = await connection.execute(sa.insert(metadata.tables["snapshots"]), snapshots)
        keys = [asdict(key(number, person)) for number in range(OTHERS)]
        for each in keys:
            del each["creator_email"]
        _ = await connection.execute(sa.insert(metadata.tables["api_keys"]), keys)
        builds = [asdict(build(number)) for number in range(OTHERS)]
        _ = await connection.execute(sa.insert(metadata.tables["builds"]), builds)
        hosts = [asdict(host(number)) for number in range(OTHERS)]
        _ = await connection.execute(sa.insert(metadata.tables["hosts"]), hosts)
        # What the planner of PostgreSQL knows otherwise only after a while.
        _ = await connection.execute(sa.text("ANALYZE"))
    await store.channels.add(channel())
    return person


def asdict(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def sandbox(number: int) -> SandboxRecord:
    return SandboxRecord(
        id=new_id("cl"),
        team_id=DEFAULT_TEAM,
        status="stopped" if number % 2 else "running",
        template="minimal",
        vcpus=1,
        memory_mb=512,
        disk_mb=5120,
        timeout_sec=0,
        network="none",
        name=f"box-{number}",
        created_at=later(number),
        last_updated=NOW,
    )


def entry(number: int) -> AuditRecord:
    return AuditRecord(
        id=new_id("log"),
        team_id=DEFAULT_TEAM,
        actor_type="user",
        resource_type=("sandbox", "team", "api_key")[number % 3],
        action=("create", "destroy")[number % 2],
        scope="team",
        status="success",
        created_at=later(number),
    )


def snapshot(number: int) -> SnapshotRecord:
    return SnapshotRecord(
        id=new_id("sn"),
        team_id=DEFAULT_TEAM,
        template="minimal",
        vcpus=1,
        memory_mb=512,
        disk_mb=1024,
        size_bytes=1,
        created_at=later(number),
        name=f"s{number}",
    )


def key(number: int, maker: UserRecord) -> ApiKeyRecord:
    digest = f"{number:064d}"
    return ApiKeyRecord(
        new_id("key"), DEFAULT_TEAM, "k", digest, "wrn_0", later(number), created_by=maker.id
    )


def build(number: int) -> BuildRecord:
    return BuildRecord(
        id=new_id("bld"),
        team_id=DEFAULT_TEAM,
        name=f"b{number}",
        base_template="minimal",
        recipe=["RUN true"],
        status="success",
        vcpus=1,
        memory_mb=512,
        disk_mb=1024,
        network="none",
        created_at=later(number),
        total_steps=1,
    )


def host(number: int) -> HostRecord:
    return HostRecord(
        id=new_id("host"),
        type="byoc",
        status="online",
        created_by="usr-" + "0" * 25,
        created_at=later(number),
        updated_at=NOW,
        team_id=DEFAULT_TEAM,
    )


def channel() -> ChannelRecord:
    return ChannelRecord(
        id="ch-" + "0" * 25,
        team_id=DEFAULT_TEAM,
        name="ops",
        provider="webhook",
        events=["host.up"],
        created_at=NOW,
        updated_at=NOW,
        config={},
    )


def lists(store: SqlStore, person: UserRecord) -> Lists:
    """Return what is listed, by its name."""
    middle = (later(AUDITED // 2), "log-z")
    before = (later(SANDBOXES // 2), "cl-z")
    page = SandboxFilter(limit=101, before=before)
    label = SandboxFilter(limit=101, metadata={"n": "box-500"})
    rare = AuditFilter(limit=51, resource_types=("team",), actions=("create",))
    return {
        "audit, a page": lambda: store.audit.list(
            DEFAULT_TEAM, AuditFilter(limit=51, before=middle)
        ),
        "audit, filtered": lambda: store.audit.list(DEFAULT_TEAM, rare),
        "sandboxes, all": lambda: store.sandboxes.list(DEFAULT_TEAM, SandboxFilter()),
        "sandboxes, a page": lambda: store.sandboxes.list(DEFAULT_TEAM, page),
        "sandboxes by label": lambda: store.sandboxes.list(DEFAULT_TEAM, label),
        "sandboxes by name": lambda: store.sandboxes.list(
            DEFAULT_TEAM, SandboxFilter(name="box-500")
        ),
        "snapshots": lambda: store.snapshots.list(DEFAULT_TEAM),
        "teams of a user": lambda: store.teams.of_user(person.id),
        "members of a team": lambda: store.teams.members(DEFAULT_TEAM),
        "API keys": lambda: store.keys.list(DEFAULT_TEAM),
        "users by address": lambda: store.users.search("u5", 10),
        "builds, a page": lambda: store.builds.list((later(OTHERS // 2), "bld-z"), 101),
        "hosts": lambda: store.hosts.list(None),
        "channels": lambda: store.channels.list(DEFAULT_TEAM),
        "deliveries": lambda: store.deliveries.list("ch-" + "0" * 25, DeliveryFilter(limit=101)),
    }


@asynccontextmanager
async def filled(url: str) -> AsyncGenerator[tuple[SqlStore, Lists]]:
    """Open a database that is full."""
    store = await SqlStore.open(url)
    try:
        yield store, lists(store, await fill(store))
    finally:
        await store.close()


async def examine(url: str) -> dict[str, Found]:
    """Measure each list in an empty database that is filled first, and ask for its plan."""
    async with filled(url) as (store, wanted):
        return {name: await _examined(store, query) for name, query in wanted.items()}


async def _examined(store: SqlStore, query: Callable[[], Awaitable[Any]]) -> Found:
    engine = store._database._engine
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    sa.event.listen(engine.sync_engine, "before_cursor_execute", note)
    _ = await query()
    sa.event.remove(engine.sync_engine, "before_cursor_execute", note)
    # SQLite works in this process: what it takes is measured however busy the machine is.
    clock = time.process_time if engine.dialect.name == "sqlite" else time.perf_counter
    times: list[float] = []
    for _ in range(ROUNDS):
        began = clock()
        _ = await query()
        times.append((clock() - began) * 1000)
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    lines: list[str] = []
    async with store._database.read() as connection:
        for statement, parameters in seen:
            rows = (await connection.exec_driver_sql(explain + statement, parameters)).all()
            lines += [str(row[-1]) for row in rows]
    return Found(min(times), "\n".join(lines))


@contextlib.contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Give URLs of empty databases, one of each kind that there is on this machine."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))
    import postgres

    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        urls = {"SQLite": f"sqlite+aiosqlite:///{place}/lists.db"}
        if postgres.programs() is not None:
            urls["PostgreSQL"] = stack.enter_context(postgres.serve())
        yield urls


def run() -> list[Row]:
    """Compare each list with what it may take, and print the plans."""
    rows: list[Row] = []
    with databases() as urls:
        for kind, url in urls.items():
            for name, found in asyncio.run(examine(url)).items():
                rows.append(Row(f"{name}, {kind}", found.milliseconds, LIMIT, "ms", "the limit"))
                print(f"-- {name}, {kind}\n{found.plan}")
    return rows
