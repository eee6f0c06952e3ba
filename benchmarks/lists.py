"""Lists out of full tables, in every database, and how the databases go about them.

One team has as many rows as are looked for. All others together have ten times as many: a database
that read all of a table would be as slow as that, and says so in its plan.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.report import Row
from sandlot.server.ids import new_id
from sandlot.server.services.accounts import new_team
from sandlot.server.store.builds import BuildRecord
from sandlot.server.store.channels import ChannelRecord, DeliveryFilter, DeliveryRecord
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
from sandlot.server.store.sql.tables import metadata, sandbox_labels, sandboxes

LIMIT = 50.0
"""Milliseconds that a list may take."""
AUDITED, SANDBOXES, TEAMS = 10_000, 1_000, 100
CHANNELS, HOSTS, OTHERS = 100, 100, 1_000
ELSEWHERE = 10
"""How many times as much all other teams have."""
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
    """Write the rows; return a user who is in all teams but those of others."""
    await store.teams.ensure(DEFAULT_TEAM, "Default", NOW)
    person = UserRecord(new_id("usr"), "a@example.org", "Name", NOW)
    await store.users.add(person, new_team("Own"))
    shared = [new_team(f"Team {number}") for number in range(TEAMS)]
    owned = [new_team("Own") for _ in range(TEAMS * ELSEWHERE)]
    users = [
        UserRecord(new_id("usr"), f"u{number}@example.org", "Name", NOW)
        for number in range(len(owned))
    ]
    members = [(team.id, person.id) for team in shared]
    members += [(team.id, user.id) for team, user in zip(owned, users, strict=True)]
    members += [(DEFAULT_TEAM, user.id) for user in users[:TEAMS]]
    async with store._database.begin() as connection:

        async def write(name: str, records: Iterable[Any]) -> None:
            columns = metadata.tables[name].columns.keys()
            rows = [{column: getattr(each, column) for column in columns} for each in records]
            _ = await connection.execute(sa.insert(metadata.tables[name]), rows)

        await write("teams", shared + owned)
        await write("users", users)
        rows = [
            {"team_id": team_id, "user_id": user_id, "role": "member", "joined_at": NOW}
            for team_id, user_id in members
        ]
        _ = await connection.execute(sa.insert(metadata.tables["memberships"]), rows)
        for table, count, make in (
            ("sandboxes", SANDBOXES, sandbox),
            ("audit_log", AUDITED, entry),
            ("snapshots", OTHERS, snapshot),
            ("api_keys", OTHERS, partial(key, person)),
            ("builds", OTHERS, build),
            ("hosts", HOSTS, host),
            ("channels", CHANNELS, channel),
            ("deliveries", OTHERS, delivery),
        ):
            await write(table, map(make, range(count)))
            _ = await connection.execute(copies(table, [team.id for team in owned[:ELSEWHERE]]))
        labels = sa.select(sandboxes.c.id, sa.literal("n"), sandboxes.c.name)
        columns = ["sandbox_id", "key", "value"]
        _ = await connection.execute(sa.insert(sandbox_labels).from_select(columns, labels))
        # What the planner of PostgreSQL knows otherwise only after a while.
        _ = await connection.execute(sa.text("ANALYZE"))
    return person


def copies(name: str, team_ids: Sequence[str]) -> sa.Insert:
    """Return the statement that gives other teams what the rows of a table are, by turns."""
    table, teams = metadata.tables[name], metadata.tables["teams"]

    def of_team(column: sa.ColumnElement[str], start: int) -> sa.ColumnElement[str]:
        begin = sa.func.substr(column, 1, start, type_=sa.String)
        return begin.concat(sa.func.substr(teams.c.id, 6, 12)).concat(
            sa.func.substr(column, start + 13)
        )

    selected = [
        teams.c.id
        if column.name == "team_id"
        else of_team(column, 6)
        if column.name in ("id", "hash", "channel_id")
        else column
        for column in table.columns
    ]
    everything = table.join(teams, teams.c.id.in_(team_ids))
    query = sa.select(*selected).select_from(everything).order_by(table.c.created_at)
    return sa.insert(table).from_select(table.columns.keys(), query)


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


def key(maker: UserRecord, number: int) -> ApiKeyRecord:
    key_id = new_id("key")
    return ApiKeyRecord(
        key_id, DEFAULT_TEAM, "k", key_id * 2, "wrn_0", later(number), created_by=maker.id
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


def channel(number: int) -> ChannelRecord:
    return ChannelRecord(
        id=f"ch-{number:025}",
        team_id=DEFAULT_TEAM,
        name=f"ops-{number}",
        provider="webhook",
        events=["host.up"],
        created_at=later(number),
        updated_at=NOW,
        config={},
    )


def delivery(number: int) -> DeliveryRecord:
    return DeliveryRecord(
        id=new_id("dlv"),
        channel_id=channel(0).id,
        event="host.up",
        payload="{}",
        status="delivered",
        created_at=later(number),
    )


def lists(store: SqlStore, person: UserRecord) -> Lists:
    """Return what is listed, by its name."""
    middle = (later(AUDITED // 2), "log-z")
    before = (later(SANDBOXES // 2), "cl-z")
    page = SandboxFilter(limit=101, before=before)
    label = SandboxFilter(limit=101, metadata={"n": "box-500"})
    sent = channel(0).id
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
        "hosts of all": lambda: store.hosts.list(None),
        "hosts of a team": lambda: store.hosts.list(DEFAULT_TEAM),
        "channels": lambda: store.channels.list(DEFAULT_TEAM),
        "deliveries": lambda: store.deliveries.list(sent, DeliveryFilter(limit=101)),
    }


@asynccontextmanager
async def filled(url: str) -> AsyncGenerator[tuple[SqlStore, Lists]]:
    """Open a database that is full."""
    store = await SqlStore.open(url)
    try:
        yield store, lists(store, await fill(store))
    finally:
        await store.close()


async def examine(url: str, rounds: int = ROUNDS) -> dict[str, Found]:
    """Measure each list in an empty database that is filled first, and ask for its plan."""
    async with filled(url) as (store, wanted):
        return {name: await _examined(store, query, rounds) for name, query in wanted.items()}


async def _examined(store: SqlStore, query: Callable[[], Awaitable[Any]], rounds: int) -> Found:
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
    for _ in range(rounds):
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
