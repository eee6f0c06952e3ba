"""The states of sandboxes, and what comes of transitions that fail, race or are abandoned."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles import TEAM, Double, eventually, run, settled

from sandlot.server.engine.base import EngineError
from sandlot.server.ids import new_id
from sandlot.server.services import lifecycle, lives
from sandlot.server.services.errors import (
    AgentError,
    AlreadyExistsError,
    InvalidRequestError,
    InvalidStateError,
    NotFoundError,
)
from sandlot.server.services.lifecycle import TRANSITIONS, Way, expires_at, move
from sandlot.server.services.new_sandboxes import NewSandbox
from sandlot.server.services.sandboxes import Sandboxes
from sandlot.server.store.memory import MemoryStore
from sandlot.server.store.records import LIVE_STATUSES, SandboxRecord

NOW = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
STATUSES = (*LIVE_STATUSES, "stopped", "error")


def record(**fields: object) -> SandboxRecord:
    plain = SandboxRecord(
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
    return replace(plain, **fields)  # type: ignore[arg-type]


async def make(sandboxes: Sandboxes, **fields: object) -> str:
    wanted = replace(NewSandbox(), **fields)  # type: ignore[arg-type]
    return (await sandboxes.create(TEAM, wanted, new_id("cl"))).id


async def until(sandboxes: Sandboxes, sandbox_id: str, status: str) -> SandboxRecord:
    """Wait for a status."""
    live = sandboxes.find_live(sandbox_id)
    if live is not None:
        await eventually(lambda: live.record.status == status)
    found = await sandboxes.get(TEAM, sandbox_id)
    assert found.status == status
    return found


# the table


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("way", TRANSITIONS)
def test_there_is_no_way_but_those_in_the_table(way: Way, status: str) -> None:
    before = record(status=status, status_reason="old")
    if status not in TRANSITIONS[way].sources:
        with pytest.raises(InvalidStateError, match=f"is {status}, not "):
            _ = move(before, way)
        return
    after = move(before, way, "why")
    assert (after.status, after.status_reason) == (TRANSITIONS[way].target, "why")
    assert after.last_updated > before.last_updated
    began = after.started_at is not None
    assert began == (after.status == "running")


def test_what_is_gone_stays_gone() -> None:
    sources = set[str]().union(*(each.sources for each in TRANSITIONS.values()))
    assert sources.isdisjoint({"stopped", "error"})


def test_nothing_else_changes_a_status() -> None:
    """`replace(…, status=…)` and `record.status = …` stand in `lifecycle` alone."""
    found = set[str]()
    others = ("builds_elsewhere", "deliveries", "enrollment", "hosts", "machines", "platform")
    for file in Path(lifecycle.__file__).parent.glob("*.py"):
        if file.stem in ("builds", *others):
            continue  # what they keep has another kind of status
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="replace"), keywords=keywords):
                    names = {keyword.arg for keyword in keywords}
                case ast.Assign(targets=[ast.Attribute(attr=name)]):
                    names = {name}
                case _:
                    continue
            if "status" in names:
                found.add(file.name)
    assert found == {"lifecycle.py"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"timeout_sec": 5, "on_timeout": "destroy"}, None),
        ({"max_lifetime_sec": 60}, NOW + timedelta(seconds=60)),
        ({"lease_expires_at": NOW}, NOW),
        ({"max_lifetime_sec": 60, "lease_expires_at": NOW}, NOW),
        ({"max_lifetime_sec": 60, "status": "stopped"}, None),
        ({"max_lifetime_sec": 60, "status": "paused"}, NOW + timedelta(seconds=60)),
    ],
)
def test_the_earliest_end_is_told(fields: dict[str, object], expected: datetime | None) -> None:
    assert expires_at(record(**fields)) == expected


# failures


def test_a_pause_that_fails_half_way_lets_everything_run_on() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        engine.failing.add("pause")
        with pytest.raises(AgentError, match="pause failed"):
            _ = await sandboxes.pause(TEAM, sandbox_id)
        assert not engine.living[sandbox_id].frozen
        assert (await sandboxes.running(TEAM, sandbox_id)).record.status == "running"
        engine.failing.clear()
        assert (await sandboxes.pause(TEAM, sandbox_id)).status == "paused"

    run(scenario)


def test_a_resume_that_fails_leaves_it_paused() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes, timeout_sec=1)
        _ = await sandboxes.pause(TEAM, sandbox_id)
        engine.failing.add("resume")
        with pytest.raises(AgentError, match="resume failed"):
            _ = await sandboxes.resume(TEAM, sandbox_id)
        assert engine.living[sandbox_id].frozen
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "paused"
        engine.failing.clear()
        assert (await sandboxes.resume(TEAM, sandbox_id)).status == "running"
        stored = await store.sandboxes.get(TEAM, sandbox_id)
        assert stored is not None
        assert stored.status == "running"

    run(scenario)


def test_a_restart_that_fails_changes_nothing() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        paused = await sandboxes.pause(TEAM, sandbox_id)
        live = sandboxes.find_live(sandbox_id)
        assert live is not None

        async def fail() -> None:
            raise EngineError("no such files")

        async def succeed() -> None:
            await live.handle.resume()

        with pytest.raises(AgentError, match="no such files"):
            _ = await sandboxes.lives.restart(live, fail)
        assert await sandboxes.get(TEAM, sandbox_id) == paused
        assert (await sandboxes.lives.restart(live, succeed)).status == "running"

    run(scenario)


def test_what_dies_while_it_cannot_be_destroyed_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lives, "_FIRST_RETRY", 0.01)

    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        engine.failing.add("destroy")
        engine.gates["destroy"] = asyncio.Event()
        destroy = asyncio.create_task(sandboxes.destroy(TEAM, sandbox_id))
        await settled()
        engine.living[sandbox_id].gone.set()  # half of the work is done
        engine.gates["destroy"].set()
        with pytest.raises(AgentError):
            await destroy
        engine.failing.clear()
        _ = await until(sandboxes, sandbox_id, "stopped")
        assert not engine.living

    run(scenario)


def test_an_idle_sandbox_that_cannot_be_paused_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        engine.failing.add("pause")
        sandbox_id = await make(sandboxes, timeout_sec=1)
        live = sandboxes.find_live(sandbox_id)
        assert live is not None
        tried = asyncio.Event()
        resume = live.handle.resume

        async def note() -> None:
            await resume()
            tried.set()

        monkeypatch.setattr(live.handle, "resume", note)
        _ = await tried.wait()
        engine.failing.clear()
        assert "1 second" in str((await until(sandboxes, sandbox_id, "paused")).status_reason)

    run(scenario)


def test_a_row_that_cannot_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        paused, ended = await make(sandboxes), await make(sandboxes)

        async def fail(_record: SandboxRecord) -> None:
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(store.sandboxes, "save", fail)
            assert (await sandboxes.pause(TEAM, paused)).status == "paused"
            await sandboxes.destroy(TEAM, ended)
            await sandboxes.save_activity()
            # The truth is told all the same.
            assert (await sandboxes.get(TEAM, ended)).status == "stopped"
        stale = await store.sandboxes.get(TEAM, ended)
        assert stale is not None
        assert stale.status == "running"
        await sandboxes.save_activity()
        for sandbox_id, status in ((paused, "paused"), (ended, "stopped")):
            written = await store.sandboxes.get(TEAM, sandbox_id)
            assert written is not None
            assert written.status == status

    run(scenario)


# races and requesters that leave


@pytest.mark.parametrize(("way", "target"), [("pause", "paused"), ("resume", "running")])
def test_a_transition_whose_requester_leaves_is_finished(way: str, target: str) -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        if way == "resume":
            _ = await sandboxes.pause(TEAM, sandbox_id)
        engine.gates[way] = asyncio.Event()
        request = sandboxes.pause if way == "pause" else sandboxes.resume
        task = asyncio.create_task(request(TEAM, sandbox_id))
        await settled()
        _ = task.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await task
        engine.gates[way].set()
        await settled()
        stored = await store.sandboxes.get(TEAM, sandbox_id)
        assert stored is not None
        assert stored.status == target
        assert engine.living[sandbox_id].frozen == (way == "pause")

    run(scenario)


def test_a_destroy_overtakes_nothing_and_is_overtaken_by_nothing() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        engine.gates["pause"] = asyncio.Event()
        pause = asyncio.create_task(sandboxes.pause(TEAM, sandbox_id))
        await settled()
        destroy = asyncio.create_task(sandboxes.destroy(TEAM, sandbox_id))
        await settled()
        with pytest.raises(InvalidStateError, match="stopped"):
            _ = await sandboxes.resume(TEAM, sandbox_id)
        assert sandbox_id in engine.living
        engine.gates["pause"].set()
        assert (await pause).status == "paused"
        await destroy
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "stopped"

    run(scenario)


def test_a_resume_that_waits_for_its_turn_meets_the_destroy() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        _ = await sandboxes.pause(TEAM, sandbox_id)
        live = sandboxes.find_live(sandbox_id)
        assert live is not None
        async with live.lock:
            resume = asyncio.create_task(sandboxes.resume(TEAM, sandbox_id))
            await settled()
            destroy = asyncio.create_task(sandboxes.destroy(TEAM, sandbox_id))
            await settled()
        with pytest.raises(InvalidStateError, match="stopped"):
            _ = await resume
        await destroy
        assert engine.living == {}

    run(scenario)


def test_pauses_at_once_pause_once() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        results = await asyncio.gather(
            *(sandboxes.pause(TEAM, sandbox_id) for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(result, SandboxRecord) for result in results) == 1
        assert sum(isinstance(result, InvalidStateError) for result in results) == 7

    run(scenario)


# ends that nobody asks for


def test_a_lease_ends_it_even_while_it_is_paused() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        kept = await make(sandboxes, lease_sec=1)
        lost, paused = await make(sandboxes, lease_sec=1), await make(sandboxes, lease_sec=1)
        _ = await sandboxes.pause(TEAM, paused)
        for sandbox_id in (lost, paused):
            while (await sandboxes.get(TEAM, sandbox_id)).status != "stopped":
                _ = await sandboxes.renew_lease(TEAM, kept)
                await asyncio.sleep(0.05)
            reason = (await sandboxes.get(TEAM, sandbox_id)).status_reason
            assert reason == "Its lease was not renewed for 1 seconds."
        assert (await sandboxes.get(TEAM, kept)).status == "running"

    run(scenario)


def test_a_renewal_is_no_activity() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes, lease_sec=1, timeout_sec=1)
        live = sandboxes.find_live(sandbox_id)
        assert live is not None

        def renewed_until_paused() -> bool:
            live.deadlines.renew()
            return live.record.status == "paused"

        await eventually(renewed_until_paused)

    run(scenario)


def test_there_must_be_a_lease_to_renew() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes)
        with pytest.raises(InvalidRequestError, match="lease_sec"):
            _ = await sandboxes.renew_lease(TEAM, sandbox_id)
        _ = await sandboxes.destroy(TEAM, sandbox_id)
        with pytest.raises(InvalidStateError):
            _ = await sandboxes.renew_lease(TEAM, sandbox_id)

    run(scenario)


def test_an_idle_sandbox_may_be_destroyed_instead() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        sandbox_id = await make(sandboxes, timeout_sec=1, on_timeout="destroy")
        busy = await make(sandboxes, timeout_sec=1, on_timeout="destroy")
        live = sandboxes.find_live(busy)
        assert live is not None
        with live.active():
            found = await until(sandboxes, sandbox_id, "stopped")
            assert found.status_reason == "Nothing happened for 1 seconds."
            await asyncio.sleep(1.1)  # longer than its own timer
            assert live.record.status == "running"
        _ = await until(sandboxes, busy, "stopped")

    run(scenario)


def test_an_end_that_nobody_asks_for_is_tried_until_it_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lives, "_FIRST_RETRY", 0.01)

    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        engine.failing.add("destroy")
        sandbox_id = await make(sandboxes, max_lifetime_sec=1)
        live = sandboxes.find_live(sandbox_id)
        assert live is not None
        engine.gates["destroy"] = asyncio.Event()
        await eventually(lambda: live.ending is not None)
        engine.gates["destroy"].set()
        await eventually(lambda: live.ending is None)
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "running"
        engine.failing.clear()
        _ = await until(sandboxes, sandbox_id, "stopped")

    run(scenario)


def test_deadlines_survive_the_server() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, store: MemoryStore) -> None:
        now = datetime.now(UTC)
        old = record(created_at=now - timedelta(seconds=60), max_lifetime_sec=50, status="paused")
        young = replace(old, id=new_id("cl"), max_lifetime_sec=1000)
        leased = record(created_at=now, lease_sec=100, lease_expires_at=now - timedelta(seconds=5))
        for each in (old, young, leased):
            await store.sandboxes.add(each)
            _ = await sandboxes.lives.enter(each, engine.handle(each.id))
        reason = (await until(sandboxes, old.id, "stopped")).status_reason
        assert reason == "It was to live for 50 seconds at most."
        assert (await sandboxes.get(TEAM, young.id)).status == "paused"
        # Nobody could renew it without a server, so that it begins anew.
        found = await sandboxes.get(TEAM, leased.id)
        assert found.lease_expires_at is not None
        assert found.lease_expires_at >= now + timedelta(seconds=100)

    run(scenario)


# getting what is there, and stopping many


def test_there_is_one_sandbox_of_a_name() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        wanted = NewSandbox(name="n")
        made = await asyncio.gather(
            *(sandboxes.get_or_create(TEAM, wanted, new_id("cl")) for _ in range(10))
        )
        assert len({each.record.id for each in made}) == len(engine.living) == 1
        assert sorted(each.is_new for each in made) == [False] * 9 + [True]
        assert {each.record.status for each in made} == {"running"}

        engine.gates["destroy"] = asyncio.Event()
        destroy = asyncio.create_task(sandboxes.destroy(TEAM, made[0].record.id))
        await settled()
        again = asyncio.create_task(sandboxes.get_or_create(TEAM, wanted, new_id("cl")))
        await settled()
        engine.gates["destroy"].set()
        await destroy
        assert (await again).is_new

    run(scenario)


def test_a_name_whose_first_creation_fails_goes_to_the_next() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        wanted = NewSandbox(name="n")
        engine.gates["create"] = asyncio.Event()
        engine.failing.add("create")
        first = asyncio.create_task(sandboxes.get_or_create(TEAM, wanted, new_id("cl")))
        _ = await engine.began.wait()
        second = asyncio.create_task(sandboxes.get_or_create(TEAM, wanted, new_id("cl")))
        await settled()
        first.add_done_callback(lambda _: engine.failing.clear())
        engine.gates["create"].set()
        with pytest.raises(AgentError):
            _ = await first
        assert (await second).is_new

    run(scenario)


def test_without_if_exists_a_name_is_taken() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, _store: MemoryStore) -> None:
        _ = await make(sandboxes, name="n")
        with pytest.raises(AlreadyExistsError):
            _ = await make(sandboxes, name="n")

    run(scenario)


def test_one_that_fails_does_not_keep_the_others_from_being_stopped() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        first, second, unknown = await make(sandboxes), await make(sandboxes), new_id("cl")
        _ = await sandboxes.destroy(TEAM, second)
        wanted = [first, unknown, second, first]
        report = await sandboxes.stop_many(TEAM, wanted, save_state=True)
        assert report.stopped == [first]
        assert {each: type(error) for each, error in report.failed.items()} == {
            unknown: NotFoundError,
            second: InvalidStateError,
        }
        again = await sandboxes.stop_many(TEAM, [first], save_state=True)
        assert again.stopped == [first]
        report = await sandboxes.stop_many(TEAM, wanted, save_state=False)
        assert report.stopped == [first, second]
        assert list(report.failed) == [unknown]
        assert engine.living == {}

    run(scenario)
