"""Rows of channels and deliveries, in every store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from test_store import NOW, OTHER, TEAM, Run, run, url

from sandlot.server.ids import new_id
from sandlot.server.store.base import NameTakenError, Store
from sandlot.server.store.channels import ChannelRecord, DeliveryFilter, DeliveryRecord

__all__ = ["run", "url"]


def channel(name: str = "ops", *, age: int = 0) -> ChannelRecord:
    return ChannelRecord(
        id=new_id("ch"),
        team_id=TEAM,
        name=name,
        provider="webhook",
        events=["capsule.created", "capsule.paused"],
        created_at=NOW - timedelta(seconds=age),
        updated_at=NOW,
        config={"url": "https://example.com", "secret": "hush"},
    )


def delivery(owner: ChannelRecord, *, age: int = 0, due: int = 0) -> DeliveryRecord:
    return DeliveryRecord(
        id=str(uuid4()),
        channel_id=owner.id,
        event="capsule.created",
        payload='{"é": "\\u0000"}',
        status="pending",
        created_at=NOW - timedelta(seconds=age),
        next_attempt_at=NOW + timedelta(seconds=due),
    )


def done(record: DeliveryRecord) -> DeliveryRecord:
    return replace(
        record,
        status="delivered",
        attempts=2,
        next_attempt_at=None,
        last_attempt_at=NOW,
        response_status=200,
        error="because",
    )


def test_channels_come_back_as_they_were(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = channel()
        await store.channels.add(record)
        assert await store.channels.get(record.id) == record
        changed = replace(record, name="x", events=["host.up"], config={}, updated_at=NOW)
        assert await store.channels.save(changed)
        assert await store.channels.get(record.id) == changed
        assert not await store.channels.remove(OTHER, record.id)
        assert await store.channels.remove(TEAM, record.id)
        assert not await store.channels.remove(TEAM, record.id)
        assert await store.channels.get(record.id) is None
        assert not await store.channels.save(changed)

    run(scenario)


def test_names_of_channels_are_unique_in_a_team(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first, second = channel("a"), channel("b")
        await store.channels.add(first)
        await store.channels.add(second)
        await store.channels.add(replace(channel("a"), team_id=OTHER))
        with pytest.raises(NameTakenError):
            await store.channels.add(channel("a"))
        with pytest.raises(NameTakenError):
            await store.channels.save(replace(second, name="a"))
        assert await store.channels.save(first)

    run(scenario)


def test_channels_are_listed_newest_first(run: Run) -> None:
    async def scenario(store: Store) -> None:
        for age in (3, 1, 2):
            await store.channels.add(channel(f"n{age}", age=age))
        assert [each.name for each in await store.channels.list(TEAM)] == ["n1", "n2", "n3"]
        assert await store.channels.list(OTHER) == []

    run(scenario)


def test_deliveries_come_back_as_they_were_and_go_with_their_channel(run: Run) -> None:
    async def scenario(store: Store) -> None:
        owner = channel()
        record = delivery(owner)
        assert not await store.deliveries.add(record)
        await store.channels.add(owner)
        assert await store.deliveries.add(record)
        assert await store.deliveries.list(owner.id, DeliveryFilter()) == [record]
        await store.deliveries.save(done(record))
        assert await store.deliveries.list(owner.id, DeliveryFilter()) == [done(record)]
        assert await store.channels.remove(TEAM, owner.id)
        assert await store.deliveries.list(owner.id, DeliveryFilter()) == []
        await store.deliveries.save(record)
        assert await store.deliveries.next(9, (), ()) == []

    run(scenario)


def test_deliveries_are_listed_newest_first_and_in_pages(run: Run) -> None:
    async def scenario(store: Store) -> None:
        owner, other = channel("a"), channel("b")
        await store.channels.add(owner)
        await store.channels.add(other)
        records = [delivery(owner, age=age) for age in (1, 2, 2, 3)]
        for record in (*records, delivery(other)):
            assert await store.deliveries.add(record)
        await store.deliveries.save(done(records[0]))
        expected = sorted(
            (record.created_at, record.id) for record in (done(records[0]), *records[1:])
        )[::-1]
        found = list[DeliveryRecord]()
        before = None
        while page := await store.deliveries.list(owner.id, DeliveryFilter(None, before, 2)):
            found += page
            before = (page[-1].created_at, page[-1].id)
        assert [(each.created_at, each.id) for each in found] == expected
        pending = await store.deliveries.list(owner.id, DeliveryFilter("pending"))
        assert {each.id for each in pending} == {each.id for each in records[1:]}
        assert await store.deliveries.pending(owner.id, 9) == 3
        assert await store.deliveries.pending(owner.id, 2) == 2

    run(scenario)


def test_those_that_are_due_come_first(run: Run) -> None:
    async def scenario(store: Store) -> None:
        owner, other = channel("a"), channel("b")
        await store.channels.add(owner)
        await store.channels.add(other)
        late, soon, now = delivery(owner, due=9), delivery(other, due=5), delivery(owner)
        for record in (late, soon, now, done(delivery(owner, due=-1))):
            assert await store.deliveries.add(record)
        assert await store.deliveries.next(9, (), ()) == [now, soon, late]
        assert await store.deliveries.next(1, (), ()) == [now]
        assert await store.deliveries.next(9, [now.id], ()) == [soon, late]
        assert await store.deliveries.next(9, (), [owner.id]) == [soon]

    run(scenario)


def test_old_deliveries_are_forgotten_unless_they_are_pending(run: Run) -> None:
    async def scenario(store: Store) -> None:
        owner = channel()
        await store.channels.add(owner)
        old, new, pending = delivery(owner, age=99), delivery(owner), delivery(owner, age=99)
        for record in (done(old), done(new), pending):
            assert await store.deliveries.add(record)
        await store.deliveries.remove_before(NOW - timedelta(seconds=50))
        left = await store.deliveries.list(owner.id, DeliveryFilter())
        assert {each.id for each in left} == {new.id, pending.id}

    run(scenario)


def test_records_show_no_secrets() -> None:
    assert "hush" not in repr(channel())


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_queues_are_read_by_index(run: Run, tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await store.channels.add(channel())

    run(scenario)
    queries = {
        "ix_deliveries_due": "SELECT * FROM deliveries WHERE next_attempt_at IS NOT NULL"
        " ORDER BY next_attempt_at, id LIMIT 9",
        "ix_deliveries_newest": "SELECT * FROM deliveries WHERE channel_id = 'c'"
        " AND (created_at, id) < ('x', 'y') ORDER BY created_at DESC, id DESC LIMIT 9",
        "ix_deliveries_waiting": "SELECT id FROM deliveries WHERE channel_id = 'c'"
        " AND next_attempt_at IS NOT NULL LIMIT 9",
    }
    with closing(sqlite3.connect(tmp_path / "test.db")) as database:
        for index, query in queries.items():
            plan = str(database.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
            assert index in plan
            assert "TEMP B-TREE" not in plan
