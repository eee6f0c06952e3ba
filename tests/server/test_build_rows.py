"""Rows of builds, and of what templates bring, in both stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from test_snapshot_rows import snapshot
from test_store import NOW, OTHER, TEAM, Run, run, sandbox, url

from sandlot.server.ids import new_id
from sandlot.server.store.base import Store
from sandlot.server.store.builds import BuildRecord
from sandlot.server.store.setups import Setup, Start

__all__ = ["run", "url"]

SETUP = Setup({"A": "ü"}, "/home/user/x", "user", [Start("sleep 5", {"A": "1"}, "/", None)], "ask")


def build(name: str, age: int = 0) -> BuildRecord:
    return BuildRecord(
        id=new_id("bld"),
        team_id=TEAM,
        name=name,
        base_template="minimal",
        recipe=["RUN true", "ENV A=ü"],
        status="pending",
        vcpus=1,
        memory_mb=256,
        disk_mb=1024,
        network="none",
        created_at=NOW - timedelta(seconds=age),
        total_steps=2,
        healthcheck="true",
        archive="0" * 64,
    )


def test_builds_come_back_as_they_were(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first, second, third = build("a", 3), build("b", 2), build("c", 1)
        for each in (second, first, third):
            await store.builds.add(each)
        done = replace(
            second,
            status="success",
            default_env={"A": "ü"},
            started_at=NOW,
            completed_at=NOW,
            sandbox_id=new_id("cl"),
        )
        await store.builds.save(done)
        assert await store.builds.get(second.id) == done
        assert await store.builds.get(new_id("bld")) is None
        assert await store.builds.list(None, None) == [third, done, first]
        assert await store.builds.list((third.created_at, third.id), 1) == [done]
        assert await store.builds.unfinished([None, "host-x"]) == [first, third]

    run(scenario)


def test_builds_belong_to_hosts(run: Run) -> None:
    async def scenario(store: Store) -> None:
        rows, here, there = store.builds, new_id("host"), new_id("host")
        ours, theirs = (replace(build("a", 2), host_id=each) for each in (here, there))
        nobodys = build("b", 1)
        for each in (nobodys, ours, theirs):
            await rows.add(each)
        assert await rows.unfinished([here]) == [ours]
        assert await rows.unfinished([here, None]) == [ours, nobodys]
        assert await rows.unfinished([]) == []
        assert not await rows.adopt(theirs.id, here)
        assert not await rows.adopt(new_id("bld"), here)
        assert await rows.adopt(nobodys.id, here)
        assert not await rows.adopt(nobodys.id, there)
        assert [each.id for each in await rows.unfinished([here])] == [ours.id, nobodys.id]

    run(scenario)


def test_what_has_ended_stays_as_it_was(run: Run) -> None:
    async def scenario(store: Store) -> None:
        rows, record = store.builds, build("a")
        assert not await rows.save(record)  # it is not there
        await rows.add(record)
        for status in ("running", "cancelled"):
            assert await rows.save(replace(record, status=status))
        assert not await rows.save(replace(record, status="success"))
        assert await rows.get(record.id) == replace(record, status="cancelled")
        assert not await rows.adopt(record.id, new_id("host"))

    run(scenario)


def test_logs_go_with_their_builds(run: Run) -> None:
    async def scenario(store: Store) -> None:
        old, new = build("a", 100), build("b")
        for each in (old, new):
            await store.builds.add(each)
            assert await store.builds.log(each.id) is None
            await store.builds.save_log(each.id, "one")
            await store.builds.save_log(each.id, "two")
        await store.builds.save_log(new_id("bld"), "of nothing")
        assert await store.builds.log(old.id) == "two"
        await store.builds.remove_before(NOW)
        assert await store.builds.get(old.id) is not None  # it is not finished
        await store.builds.save(replace(old, status="failed"))
        await store.builds.remove_before(NOW)
        assert await store.builds.get(old.id) is None
        assert await store.builds.log(old.id) is None
        assert await store.builds.log(new.id) == "two"

    run(scenario)


def test_platform_templates_are_for_all_and_no_team_s_own(run: Run) -> None:
    async def scenario(store: Store) -> None:
        built = replace(snapshot("built"), setup=SETUP, platform=True)
        own = snapshot("own", age=5)
        await store.snapshots.add(built)
        await store.snapshots.add(own)
        assert await store.snapshots.find_platform("built") == built
        assert await store.snapshots.find_platform("own") is None
        assert await store.snapshots.platform() == [built]
        assert await store.snapshots.list(TEAM) == [own]
        assert await store.snapshots.list(OTHER) == []

    run(scenario)


def test_sandboxes_remember_what_their_template_brought(run: Run) -> None:
    async def scenario(store: Store) -> None:
        record = replace(sandbox(), setup=SETUP)
        await store.sandboxes.add(record)
        found = await store.sandboxes.get(TEAM, record.id)
        assert found is not None
        assert found.setup == SETUP

    run(scenario)
