"""Rows of snapshots and checkpoints, in every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from test_store import NOW, OTHER, TEAM, Run, run, sandbox, url

from sandlot.server.ids import new_id
from sandlot.server.store.base import NameTakenError, Store
from sandlot.server.store.records import SnapshotRecord

__all__ = ["run", "url"]


def snapshot(name: str | None = None, *, prefix: str = "sn", age: int = 0) -> SnapshotRecord:
    return SnapshotRecord(
        id=new_id(prefix),
        team_id=TEAM,
        template="minimal",
        vcpus=2,
        memory_mb=256,
        disk_mb=1024,
        size_bytes=1 << 40,
        created_at=NOW - timedelta(seconds=age),
        name=name,
    )


def test_snapshots_come_back_as_they_were(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = snapshot("ready")
        await store.snapshots.add(record)
        assert await store.snapshots.find(TEAM, "ready") == record
        assert await store.snapshots.find(OTHER, "ready") is None
        assert await store.snapshots.find(TEAM, "other") is None
        assert await store.snapshots.remove(record.id)
        assert not await store.snapshots.remove(record.id)
        assert await store.snapshots.find(TEAM, "ready") is None

    run(scenario)


def test_names_of_snapshots_are_unique_in_a_team(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first = snapshot("ready")
        await store.snapshots.add(first)
        with pytest.raises(NameTakenError):
            await store.snapshots.add(snapshot("ready"))
        await store.snapshots.add(replace(snapshot("ready"), team_id=OTHER))
        assert await store.snapshots.find(TEAM, "ready") == first

    run(scenario)


def test_a_snapshot_takes_the_place_of_another(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first, second = snapshot("ready"), snapshot("ready")
        assert await store.snapshots.replace(first) is None
        assert await store.snapshots.replace(second) == first
        assert await store.snapshots.list(TEAM) == [second]

    run(scenario)


def test_checkpoints_belong_to_a_sandbox_and_may_share_names(run: Run) -> None:
    async def scenario(store: Store) -> None:
        box = sandbox()
        await store.sandboxes.add(box)
        older = replace(snapshot("ready", prefix="cp", age=5), sandbox_id=box.id)
        newer = replace(snapshot("ready", prefix="cp"), sandbox_id=box.id)
        nameless = replace(snapshot(prefix="cp", age=9), sandbox_id=box.id)
        alone = snapshot("ready")
        for record in (older, newer, nameless, alone):
            await store.snapshots.add(record)
        assert await store.snapshots.checkpoints(box.id) == [newer, older, nameless]
        assert await store.snapshots.list(TEAM) == [alone]
        assert await store.snapshots.find(TEAM, "ready") == alone
        ids = {record.id for record in await store.snapshots.all()}
        assert ids == {older.id, newer.id, nameless.id, alone.id}

    run(scenario)


def test_snapshots_are_listed_newest_first(run: Run) -> None:
    async def scenario(store: Store) -> None:
        records = [snapshot(f"n{age}", age=age) for age in (3, 1, 2)]
        for record in records:
            await store.snapshots.add(record)
        names = [record.name for record in await store.snapshots.list(TEAM)]
        assert names == ["n1", "n2", "n3"]

    run(scenario)
