"""What only happens when things come together at the wrong moment: the engine is a double here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace

import pytest

from sandlot.server.engine.base import (
    Command,
    EnforcedLimits,
    EngineCapabilities,
    EngineError,
    FileReader,
    FileWriter,
    Process,
    SandboxHandle,
    SandboxSpec,
    Usage,
)
from sandlot.server.ids import new_id
from sandlot.server.services.clock import RunClock
from sandlot.server.services.errors import (
    AgentError,
    HostUnavailableError,
    InvalidStateError,
    NotFoundError,
)
from sandlot.server.services.idempotency import Idempotency
from sandlot.server.services.sandboxes import NewSandbox, Sandboxes
from sandlot.server.store.memory import MemoryStore
from sandlot.server.store.records import SandboxRecord

TEAM = "team-" + "0" * 25

CAPABILITIES = EngineCapabilities(
    engine="double",
    level="none",
    templates=["minimal"],
    limits=EnforcedLimits("none", "none", "none", "none"),
    pause="stop",
)


class Handle:
    """A sandbox that does nothing."""

    def __init__(self, sandbox_id: str) -> None:
        self.id = sandbox_id
        self.gone = asyncio.Event()

    async def wait_gone(self) -> None:
        _ = await self.gone.wait()

    async def spawn(self, command: Command) -> Process:
        raise EngineError("no programs here")

    async def open_reader(self, path: str) -> FileReader:
        raise EngineError("no files here")

    async def open_writer(self, path: str) -> FileWriter:
        raise EngineError("no files here")

    async def pause(self) -> None:
        return

    async def resume(self) -> None:
        return

    async def usage(self) -> Usage:
        return Usage(0.0, 0, 0)


@dataclass
class Double:
    """An engine whose operations wait until they are let go, and may fail."""

    gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    failing: set[str] = field(default_factory=set[str])
    living: dict[str, Handle] = field(default_factory=dict[str, Handle])
    began: asyncio.Event = field(default_factory=asyncio.Event)
    capabilities: EngineCapabilities = CAPABILITIES

    async def start(self) -> None:
        return

    async def close(self) -> None:
        self.living.clear()

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        self.began.set()
        await self._gate("create")
        handle = self.living[spec.id] = Handle(spec.id)
        return handle

    async def destroy(self, sandbox_id: str) -> None:
        await self._gate("destroy")
        _ = self.living.pop(sandbox_id, None)

    async def _gate(self, name: str) -> None:
        if name in self.gates:
            _ = await self.gates[name].wait()
        if name in self.failing:
            raise EngineError(f"{name} failed")


Scenario = Callable[[Sandboxes, Double, MemoryStore], Coroutine[None, None, None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        store, engine = MemoryStore(), Double()
        sandboxes = Sandboxes(store.sandboxes, engine)
        try:
            async with asyncio.timeout(10):
                await scenario(sandboxes, engine, store)
        finally:
            await sandboxes.close()

    asyncio.run(main())


async def settled() -> None:
    """Let everything happen that can happen by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


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

        async def make(resource_id: str) -> str:
            _ = await gate.wait()
            made.append(resource_id)
            return resource_id

        async def find(resource_id: str) -> str | None:
            return resource_id

        service = Idempotency[str](store.idempotency, lambda: f"thing-{len(made)}")
        first = asyncio.create_task(service.once(TEAM, "k", "f", make, find))
        await settled()
        _ = first.cancel()
        await settled()
        gate.set()
        assert await service.once(TEAM, "k", "f", make, find) == "thing-0"
        assert made == ["thing-0"]

    run(scenario)


def test_what_was_noted_but_never_made_is_made() -> None:
    async def scenario(_sandboxes: Sandboxes, _engine: Double, store: MemoryStore) -> None:
        async def make(resource_id: str) -> str:
            return resource_id

        async def find(_resource_id: str) -> str | None:
            return None  # the server died between the note and the deed

        ids = iter(["one", "two"])
        service = Idempotency[str](store.idempotency, lambda: next(ids))
        assert await service.once(TEAM, "k", "f", make, find) == "one"
        assert await service.once(TEAM, "k", "f", make, find) == "two"

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
    sandboxes = Sandboxes(MemoryStore().sandboxes, engine)
    with pytest.raises(NotFoundError, match=f"not installed on the server. {advice}"):
        _ = await sandboxes.create(TEAM, NewSandbox("absent"), new_id("cl"))
    with pytest.raises(NotFoundError, match="there are: minimal"):
        _ = await sandboxes.create(TEAM, NewSandbox("unknown"), new_id("cl"))
