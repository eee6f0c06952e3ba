"""What only happens when things come together at the wrong moment: the engine is a double here."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from doubles import CAPABILITIES, TEAM, Double, run, settled

from sandlot.server.ids import new_id
from sandlot.server.services.clock import RunClock
from sandlot.server.services.errors import (
    AgentError,
    HostUnavailableError,
    IdempotencyKeyUsedError,
    InvalidStateError,
    NotFoundError,
)
from sandlot.server.services.events import Events
from sandlot.server.services.idempotency import Claim, Idempotency, Keyed
from sandlot.server.services.machines import Machines
from sandlot.server.services.new_sandboxes import NewSandbox
from sandlot.server.services.sandboxes import Sandboxes
from sandlot.server.store.memory import MemoryStore
from sandlot.server.store.records import SandboxRecord

REQUEST = Keyed(TEAM, "me", "key", "fingerprint")


def test_a_cancelled_create_leaves_nothing() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, store: MemoryStore) -> None:
        engine.gates["create"] = asyncio.Event()
        sandbox_id = new_id("cl")
        task = asyncio.create_task(sandboxes.create(TEAM, NewSandbox(), sandbox_id))
        _ = await engine.began.wait()
        _ = task.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await task
        engine.gates["create"].set()
        await settled()
        assert not engine.living
        assert not sandboxes.live
        record = await store.sandboxes.get(TEAM, sandbox_id)
        assert record is not None
        assert record.status == "stopped"

    run(scenario)


def test_a_destroy_during_the_create_waits_for_it() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        engine.gates["create"] = asyncio.Event()
        sandbox_id = new_id("cl")
        create = asyncio.create_task(sandboxes.create(TEAM, NewSandbox(), sandbox_id))
        _ = await engine.began.wait()
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "pending"
        destroy = asyncio.create_task(sandboxes.destroy(TEAM, sandbox_id))
        await settled()
        assert not destroy.done()
        engine.gates["create"].set()
        _ = await create
        await destroy
        assert not engine.living
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "stopped"

    run(scenario)


def test_a_create_that_fails_is_an_error() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        engine.failing.add("create")
        sandbox_id = new_id("cl")
        with pytest.raises(AgentError, match="create failed"):
            _ = await sandboxes.create(TEAM, NewSandbox(name="n"), sandbox_id)
        record = await sandboxes.get(TEAM, sandbox_id)
        assert (record.status, record.status_reason) == ("error", "create failed")
        engine.failing.clear()
        _ = await sandboxes.create(TEAM, NewSandbox(name="n"), new_id("cl"))  # the name is free

    run(scenario)


def test_a_destroy_that_fails_may_be_tried_again() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        sandbox_id = new_id("cl")
        _ = await sandboxes.create(TEAM, NewSandbox(), sandbox_id)
        engine.failing.add("destroy")
        with pytest.raises(AgentError):
            await sandboxes.destroy(TEAM, sandbox_id)
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "running"
        engine.failing.clear()
        await sandboxes.destroy(TEAM, sandbox_id)
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "stopped"

    run(scenario)


def test_a_cancelled_destroy_is_finished() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        sandbox_id = new_id("cl")
        _ = await sandboxes.create(TEAM, NewSandbox(), sandbox_id)
        engine.gates["destroy"] = asyncio.Event()
        tasks = [asyncio.create_task(sandboxes.destroy(TEAM, sandbox_id)) for _ in range(3)]
        await settled()
        _ = tasks[0].cancel()
        with pytest.raises(InvalidStateError, match="stopped"):
            _ = await sandboxes.running(TEAM, sandbox_id)
        engine.gates["destroy"].set()
        await asyncio.gather(*tasks[1:])
        assert not engine.living
        assert (await sandboxes.get(TEAM, sandbox_id)).status == "stopped"

    run(scenario)


def test_a_server_that_stops_makes_no_more() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, store: MemoryStore) -> None:
        record = await sandboxes.create(TEAM, NewSandbox(), new_id("cl"))
        sandboxes.refuse_new()
        with pytest.raises(HostUnavailableError):
            _ = await sandboxes.create(TEAM, NewSandbox(), new_id("cl"))
        await sandboxes.close()
        assert not engine.living
        found = await store.sandboxes.get(TEAM, record.id)
        assert found is not None
        assert found.status == "stopped"

    run(scenario)


def test_another_teams_sandbox_is_not_there() -> None:
    async def scenario(sandboxes: Sandboxes, engine: Double, _store: MemoryStore) -> None:
        from sandlot.server.services.errors import NotFoundError

        record = await sandboxes.create(TEAM, NewSandbox(), new_id("cl"))
        other = "team-" + "1" * 25
        for attempt in (
            sandboxes.get(other, record.id),
            sandboxes.running(other, record.id),
            sandboxes.pause(other, record.id),
            sandboxes.destroy(other, record.id),
        ):
            with pytest.raises(NotFoundError):
                _ = await attempt
        assert record.id in engine.living

    run(scenario)


def test_a_request_whose_requester_leaves_is_finished() -> None:
    async def scenario(_sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        gate, made = asyncio.Event(), list[str]()

        async def make(claim: Claim) -> str:
            _ = await gate.wait()
            made.append(claim.id)
            return claim.id

        async def find(claim: Claim) -> str | None:
            return claim.id

        service = Idempotency(store.idempotency, "secret", "host")
        first = asyncio.create_task(service.once(REQUEST, "thing", make, find))
        await settled()
        _ = first.cancel()
        await settled()
        gate.set()
        assert [await service.once(REQUEST, "thing", make, find)] == made

    run(scenario)


def test_it_is_asked_for_again_in_the_instant_of_its_end() -> None:
    async def scenario(_sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        repeated: list[asyncio.Task[str]] = []
        service = Idempotency(store.idempotency, "secret", "host")

        async def find(claim: Claim) -> str | None:
            return claim.id

        async def make(claim: Claim) -> str:
            again = service.once(REQUEST, "thing", make, find, lasting=True)
            repeated.append(asyncio.create_task(again))  # it runs when this is over
            return claim.id

        made = await service.once(REQUEST, "thing", make, find, lasting=True)
        assert [await task for task in repeated] == [made]

    run(scenario)


def test_what_was_claimed_but_never_made_is_made() -> None:
    async def scenario(_sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        async def make(claim: Claim) -> str:
            return claim.id

        async def find(_claim: Claim) -> str | None:
            return None  # the server died between the claim and the deed

        service = Idempotency(store.idempotency, "secret", "host")

        async def clear(_claim: Claim) -> bool:
            return False  # its name is taken by something that is good for nothing

        first = await service.once(REQUEST, "thing", make, find, lasting=True)
        assert await service.once(REQUEST, "thing", make, find, lasting=True) == first
        second = await service.once(REQUEST, "thing", make, find, clear=clear, lasting=True)
        assert second != first
        # What is known to have been there is not made again.
        other = replace(REQUEST, key="other")
        _ = await service.once(other, "thing", make, find)
        with pytest.raises(IdempotencyKeyUsedError):
            _ = await service.once(other, "thing", make, find)

    run(scenario)


def test_secrets_of_claims() -> None:
    """They are the same again, for who asks again, as long as the server has the same secret."""

    async def scenario(_sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        async def make(claim: Claim) -> str:
            return claim.secret

        find = make

        def service(secret: str) -> Idempotency:
            return Idempotency(store.idempotency, secret, "host")

        first = await service("a").once(REQUEST, "thing", make, find)
        assert re.fullmatch("[0-9a-f]{64}", first)
        assert await service("a").once(REQUEST, "thing", make, find) == first
        assert await service("b").once(REQUEST, "thing", make, find) != first
        others = [
            replace(REQUEST, owner="somebody else"),
            replace(REQUEST, key="other"),
            replace(REQUEST, team_id="team-" + "1" * 25),
        ]
        found = {await service("a").once(request, "thing", make, find) for request in others}
        assert len(found | {first}) == 4
        claims = [service("a").unclaimed("thing") for _ in range(2)]
        assert claims[0].secret != claims[1].secret
        assert claims[0].secret not in repr(claims[0])

    run(scenario)


def test_the_clock_stands_still_while_paused() -> None:
    async def main() -> None:
        clock = RunClock()
        clock.pause()
        stood = clock.time()
        sleeping = asyncio.create_task(clock.sleep(0.01))
        await asyncio.sleep(0.05)  # longer than what is slept
        assert clock.time() == stood
        assert not sleeping.done()
        clock.resume()
        await asyncio.wait_for(sleeping, 5)
        assert clock.time() >= stood + 0.01

    asyncio.run(main())


def test_records_are_as_fresh_as_the_sandbox() -> None:
    async def scenario(sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        record = await sandboxes.create(TEAM, NewSandbox(), new_id("cl"))
        await sandboxes.ping(TEAM, record.id)
        fresh = await sandboxes.get(TEAM, record.id)
        assert fresh.last_active_at is not None
        assert record.last_active_at is not None
        assert fresh.last_active_at > record.last_active_at
        stored: SandboxRecord | None = await store.sandboxes.get(TEAM, record.id)
        assert stored == record  # not yet written
        await sandboxes.save_activity()
        assert await store.sandboxes.get(TEAM, record.id) == fresh

    run(scenario)


async def test_a_template_that_is_not_installed() -> None:
    """Whoever asks for it is told what to do."""
    advice = "Do this and that."
    engine = Double(capabilities=replace(CAPABILITIES, missing={"absent": advice}))
    store = MemoryStore()
    machines = Machines(store, engine, Events(), new_id("host"), 90)
    sandboxes = Sandboxes(store.sandboxes, engine, machines)
    with pytest.raises(NotFoundError, match=f"not installed on the server. {advice}"):
        _ = await sandboxes.create(TEAM, NewSandbox("absent"), new_id("cl"))
    with pytest.raises(NotFoundError, match="there are: minimal"):
        _ = await sandboxes.create(TEAM, NewSandbox("unknown"), new_id("cl"))
