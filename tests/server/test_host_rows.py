"""The rows of hosts and of usage, in every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from test_identity_rows import NOW, Run, run
from test_store import sandbox, url

from sandlot.server.ids import new_id
from sandlot.server.services.accounts import new_team
from sandlot.server.store.base import Store
from sandlot.server.store.hosts import HostRecord, HostToken
from sandlot.server.store.identity_records import DEFAULT_TEAM, LOCAL_USER, TeamRecord
from sandlot.server.store.records import SandboxRecord
from sandlot.server.store.usage import DayUsage, usage_of

__all__ = ["run", "url"]

LATER = NOW + timedelta(hours=1)


def host(**fields: object) -> HostRecord:
    record = HostRecord(
        id=new_id("host"),
        type="regular",
        status="pending",
        created_by=LOCAL_USER,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(record, **fields)  # type: ignore[arg-type]


async def a_team(store: Store) -> TeamRecord:
    team = new_team("Bringers")
    await store.teams.ensure(team.id, team.name, NOW)
    return team


def test_hosts_come_back_as_they_were(run: Run) -> None:
    async def scenario(store: Store) -> None:
        team = await a_team(store)
        full = host(
            type="byoc",
            status="online",
            team_id=team.id,
            provider="us",
            availability_zone="here",
            arch="x86_64",
            cpu_cores=8,
            memory_mb=2**33,
            disk_gb=2**33,
            address="ü" * 255,
            engine="local",
            last_heartbeat_at=LATER,
            created_at=LATER,
        )
        plain = host()
        for record in (plain, full):
            await store.hosts.put(record)
            assert await store.hosts.get(record.id) == record
        assert await store.hosts.list(None) == [full, plain]
        assert await store.hosts.list(team.id) == [full]
        changed = replace(full, status="offline", address="elsewhere", updated_at=LATER)
        await store.hosts.put(changed)
        assert await store.hosts.get(full.id) == changed
        assert await store.hosts.remove(full.id)
        assert not await store.hosts.remove(full.id)
        assert await store.hosts.get(full.id) is None

    run(scenario)


def test_a_host_is_registered_once(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = host()
        online = replace(record, status="online", address="a", last_heartbeat_at=LATER)
        assert not await store.hosts.register(online)
        await store.hosts.put(record)
        results = await asyncio.gather(*(store.hosts.register(online) for _ in range(4)))
        assert sorted(results) == [False, False, False, True]
        assert await store.hosts.get(record.id) == online

    run(scenario)


def test_heartbeats(run: Run) -> None:
    async def scenario(store: Store) -> None:
        pending, lost = host(), host(status="unreachable", last_heartbeat_at=NOW)
        for record in (pending, lost):
            await store.hosts.put(record)
        ids = [pending.id, lost.id, new_id("host")]
        before = await store.hosts.beat(ids, LATER)
        assert before == {pending.id: "pending", lost.id: "unreachable"}
        assert await store.hosts.get(pending.id) == pending
        found = replace(lost, status="online", last_heartbeat_at=LATER)
        assert await store.hosts.get(lost.id) == found
        assert await store.hosts.beat([], LATER) == {}

    run(scenario)


def test_silence_is_noticed_once(run: Run) -> None:
    async def scenario(store: Store) -> None:
        silent = host(status="online", last_heartbeat_at=NOW)
        others = [
            host(status="online", last_heartbeat_at=LATER),
            host(status="offline", last_heartbeat_at=NOW),
            host(),
        ]
        for record in (silent, *others):
            await store.hosts.put(record)
        limit = NOW + timedelta(minutes=1)
        seen = await asyncio.gather(*(store.hosts.mark_unreachable(limit, LATER) for _ in range(4)))
        marked = replace(silent, status="unreachable", updated_at=LATER)
        assert [row for rows in seen for row in rows] == [marked]
        assert await store.hosts.get(silent.id) == marked
        for record in others:
            assert await store.hosts.get(record.id) == record

    run(scenario)


def test_tags(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first, second = host(), host()
        for record in (first, second):
            await store.hosts.put(record)
            await store.hosts.add_tag(record.id, "eu")
        for tag in ("gpu", "gpu", "größer"):
            await store.hosts.add_tag(first.id, tag)
        assert await store.hosts.tags(first.id) == ["eu", "gpu", "größer"]
        ids = [first.id, second.id]
        assert sorted(await store.hosts.with_tags(ids, ["eu"])) == sorted(ids)
        assert list(await store.hosts.with_tags(ids, ["gpu", "eu", "gpu"])) == [first.id]
        assert list(await store.hosts.with_tags([second.id], ["gpu"])) == []
        assert list(await store.hosts.with_tags(ids, ["none"])) == []
        await store.hosts.remove_tag(first.id, "gpu")
        await store.hosts.remove_tag(first.id, "gpu")
        assert await store.hosts.tags(first.id) == ["eu", "größer"]
        assert await store.hosts.remove(first.id)
        assert await store.hosts.tags(first.id) == []
        await store.hosts.add_tag(first.id, "late")  # it went meanwhile
        assert await store.hosts.tags(first.id) == []
        assert await store.hosts.tags(second.id) == ["eu"]

    run(scenario)


def test_tokens_can_be_used_once(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = host()
        await store.hosts.put(record)
        token = HostToken("a" * 64, record.id, "registration", LATER)
        await store.hosts.add_token(token)
        assert await store.hosts.use_token("a" * 64, "refresh", NOW) is None
        uses = [store.hosts.use_token("a" * 64, "registration", NOW) for _ in range(4)]
        assert sorted(map(str, await asyncio.gather(*uses))) == ["None"] * 3 + [record.id]
        await store.hosts.add_token(token)
        assert await store.hosts.use_token("a" * 64, "registration", LATER) is None
        assert await store.hosts.use_token("a" * 64, "registration", NOW) is None  # used up

    run(scenario)


def test_a_token_takes_the_place_of_the_one_before(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = host()
        await store.hosts.put(record)
        for name in ("a", "b"):
            for kind in ("registration", "refresh"):
                token = HostToken(name * 63 + kind[2], record.id, kind, LATER)  # type: ignore[arg-type]
                await store.hosts.add_token(token)
        assert await store.hosts.use_token("a" * 63 + "g", "registration", NOW) is None
        assert await store.hosts.use_token("b" * 63 + "g", "registration", NOW) == record.id
        _ = await store.hosts.remove(record.id)
        assert await store.hosts.use_token("b" * 63 + "f", "refresh", NOW) is None
        await store.hosts.add_token(HostToken("c" * 64, record.id, "refresh", LATER))
        assert await store.hosts.use_token("c" * 64, "refresh", NOW) is None

    run(scenario)


def test_sandboxes_of_hosts(run: Run) -> None:
    async def scenario(store: Store) -> None:
        mine, others = new_id("host"), new_id("host")
        here, old = sandbox(host_id=mine), sandbox(status="paused")
        there, gone = sandbox(host_id=others), sandbox(host_id=mine, status="stopped")
        for record in (here, old, there, gone):
            await store.sandboxes.add(record)
        assert await store.sandboxes.on_host(mine) == [here]
        assert {row.id for row in await store.sandboxes.living([mine])} == {here.id, old.id}
        assert len(await store.sandboxes.living()) == 3
        assert await store.sandboxes.mark_gone("why", LATER, [mine]) == 2
        assert await store.sandboxes.living([mine]) == []
        assert await store.sandboxes.get(there.team_id, there.id) == there

    run(scenario)


def test_use_is_split_at_midnight() -> None:
    begin = datetime(2026, 10, 31, 23, 59, tzinfo=UTC)
    record = sandbox(started_at=begin, vcpus=2, memory_mb=100)
    assert usage_of(record, begin + timedelta(minutes=3)) == [
        DayUsage(date(2026, 10, 31), 120, 6000),
        DayUsage(date(2026, 11, 1), 240, 12000),
    ]
    long = usage_of(record, begin + timedelta(days=40))
    assert len(long) == 41
    assert sum(used.cpu_seconds for used in long) == 2 * 40 * 86400
    assert usage_of(record, begin) == []
    assert usage_of(record, begin - timedelta(days=1)) == []  # the clock was set back


async def ran(store: Store) -> dict[date, tuple[float, float]]:
    found = await store.usage.list(DEFAULT_TEAM, date(2026, 1, 1), date(2026, 12, 31))
    return {used.day: (used.cpu_seconds, used.memory_mb_seconds) for used in found}


def begun(**fields: object) -> SandboxRecord:
    return sandbox(started_at=NOW, vcpus=2, memory_mb=100, **fields)


TODAY = NOW.date()


def test_what_ran_is_added_up_once(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = begun()
        await store.sandboxes.add(record)
        await store.sandboxes.save(replace(record, last_active_at=LATER))
        assert await ran(store) == {}  # it runs still
        paused = replace(record, status="paused", last_updated=NOW + timedelta(seconds=10))
        await store.sandboxes.save(paused)
        await store.sandboxes.save(paused)
        assert await ran(store) == {TODAY: (20, 1000)}
        again = replace(paused, status="running", started_at=LATER, last_updated=LATER)
        await store.sandboxes.save(again)
        anew = LATER + timedelta(seconds=5)
        await store.sandboxes.save(replace(again, started_at=anew, last_updated=anew))
        assert await ran(store) == {TODAY: (30, 1500)}
        stopped = replace(again, status="stopped", last_updated=LATER + timedelta(days=1))
        await store.sandboxes.save(stopped, until=anew + timedelta(seconds=1))
        await store.sandboxes.save(stopped)
        assert await ran(store) == {TODAY: (32, 1600)}
        assert await store.usage.list(DEFAULT_TEAM, date(2026, 1, 1), date(2026, 1, 2)) == []
        assert await store.usage.list((await a_team(store)).id, TODAY, TODAY) == []

    run(scenario)


def test_what_ends_with_the_server_counts_too(run: Run) -> None:
    async def scenario(store: Store) -> None:
        for record in (begun(), begun(), begun(status="paused"), begun(status="pending")):
            await store.sandboxes.add(record)
        _ = await store.sandboxes.mark_gone("why", NOW + timedelta(days=1))
        days = await ran(store)
        assert sum(cpu for cpu, _ in days.values()) == 2 * 2 * 86400
        assert list(days) == [TODAY, TODAY + timedelta(days=1)]

    run(scenario)


def test_many_at_once_are_all_counted(run: Run) -> None:
    async def scenario(store: Store) -> None:
        records = [begun() for _ in range(12)]
        for record in records:
            await store.sandboxes.add(record)
        end = NOW + timedelta(seconds=1)
        await asyncio.gather(
            *(
                store.sandboxes.save(replace(record, status="stopped", last_updated=end))
                for record in records
            )
        )
        assert await ran(store) == {TODAY: (24, 1200)}

    run(scenario)
