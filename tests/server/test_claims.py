"""Claims on idempotency keys, of servers that share a store, without anything that is made."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from doubles import TEAM

from sandlot.server.services.errors import ConflictError, HostUnavailableError
from sandlot.server.services.idempotency import Claim, Idempotency, Keyed, Terms
from sandlot.server.store.memory import MemoryStore
from sandlot.server.store.records import IdempotencyRecord

REQUEST = Keyed(TEAM, "me", "key", "f")
LONG = Terms(lease=600, margin=0, patience=600)


class World:
    """Things that servers make; each has one name."""

    def __init__(self) -> None:
        self.rows: Any = MemoryStore().idempotency
        self.things = list[str]()
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def server(self, name: str, terms: Terms = LONG) -> Idempotency:
        return Idempotency(self.rows, "secret", name, terms)

    def sleeper(self) -> Idempotency:
        """A server that extends nothing until the gate is open."""
        rows, world = self.rows, self

        class Rows:
            def __getattr__(self, name: str) -> Any:
                return getattr(rows, name)

            async def hold(self, record: IdempotencyRecord, until: datetime) -> bool:
                _ = await world.gate.wait()
                return bool(await rows.hold(record, until))

        make: Any = Idempotency
        server: Idempotency = make(Rows(), "secret", "gone", Terms(0.01, 0, 600))
        return server

    async def make(self, claim: Claim) -> str:
        self.begun.set()
        _ = await self.gate.wait()
        if claim.id in self.things:
            raise ConflictError("There is one.")
        self.things.append(claim.id)
        return claim.id

    async def find(self, claim: Claim) -> str | None:
        return claim.id if claim.id in self.things else None

    async def once(self, server: Idempotency, request: Keyed = REQUEST) -> str:
        return await server.once(request, "thing", self.make, self.find)


async def until(condition: Callable[[], bool]) -> None:
    for _ in itertools.count():
        if condition():
            return
        await asyncio.sleep(0.001)


async def test_another_server_waits() -> None:
    world = World()
    world.gate.clear()
    one, two = world.server("one"), world.server("two")
    first = asyncio.create_task(world.once(one))
    _ = await world.begun.wait()
    second = asyncio.create_task(world.once(two))
    await asyncio.sleep(0)
    world.gate.set()
    assert await first == await second
    assert world.things == [await first]


async def test_who_waits_does_not_hold_up_the_end() -> None:
    world = World()
    world.gate.clear()
    one, two = world.server("one"), world.server("two")
    first = asyncio.create_task(world.once(one))
    _ = await world.begun.wait()
    second = asyncio.create_task(world.once(two))
    await asyncio.sleep(0)
    two.stop_soon()
    with pytest.raises(HostUnavailableError) as caught:
        _ = await second
    assert caught.value.retry_after == 1
    world.gate.set()
    await one.close()
    assert world.things == [await first]


async def test_a_claim_is_extended_for_as_long_as_it_takes() -> None:
    """Also if that fails once: a database may be locked for a moment."""
    world = World()
    world.gate.clear()
    server = world.server("one", Terms(lease=0.03, margin=0, patience=60))
    held: list[datetime] = []
    hold = world.rows.hold

    async def failing(record: IdempotencyRecord, until: datetime) -> bool:
        held.append(until)
        if len(held) == 2:
            raise OSError("the database is locked")
        return bool(await hold(record, until))

    world.rows.hold = failing
    making = asyncio.create_task(world.once(server))
    await until(lambda: len(held) >= 4)
    world.gate.set()
    assert [await making] == world.things
    assert held == sorted(held)
    await server.close()
    count = len(held)
    await asyncio.sleep(0.1)  # thrice its period: nothing is extended that is done
    assert len(held) == count


async def test_the_claim_of_a_server_that_was_lost_is_taken_over() -> None:
    """If that was only asleep, it returns what the other has made."""
    world = World()
    world.gate.clear()
    gone, here = world.sleeper(), world.server("here")
    asleep = asyncio.create_task(world.once(gone))
    _ = await world.begun.wait()
    taken = asyncio.create_task(world.once(here))
    await until(lambda: _holder(world) == "here")
    world.gate.set()
    assert await asleep == await taken
    assert world.things == [await asleep]


async def test_what_failed_elsewhere_can_be_tried_again_under_the_same_name() -> None:
    world = World()
    world.gate.clear()
    gone, here = world.sleeper(), world.server("here")
    asleep = asyncio.create_task(world.once(gone))
    _ = await world.begun.wait()

    async def refuse(_claim: Claim) -> str:
        raise ConflictError("It cannot be made here.")

    with pytest.raises(ConflictError):
        _ = await here.once(REQUEST, "thing", refuse, world.find)
    world.gate.set()
    assert await asleep == await world.once(here) == await world.once(gone)
    assert world.things == [await asleep]


async def test_what_fails_is_forgotten() -> None:
    world = World()

    async def refuse(_claim: Claim) -> str:
        raise ConflictError("It cannot be made.")

    server = world.server("one")
    with pytest.raises(ConflictError):
        _ = await server.once(REQUEST, "thing", refuse, world.find)
    other = Keyed(TEAM, "me", "key", "another request")
    assert [await world.once(world.server("two"), other)] == world.things


async def test_what_cannot_be_cleared_here_is_let_go() -> None:
    world = World()
    world.gate.clear()
    gone, here = world.sleeper(), world.server("here")
    asleep = asyncio.create_task(world.once(gone))
    _ = await world.begun.wait()

    async def clear(_claim: Claim) -> bool:
        raise HostUnavailableError("It is elsewhere.")

    with pytest.raises(HostUnavailableError, match="elsewhere"):
        _ = await here.once(REQUEST, "thing", world.make, world.find, clear=clear)
    world.gate.set()
    assert await asleep == await world.once(world.server("third"))


async def test_a_server_takes_over_its_own_claims_at_once() -> None:
    world = World()
    world.gate.clear()
    before, after = world.server("same"), world.server("same")
    lost = asyncio.create_task(world.once(before))
    _ = await world.begun.wait()
    _ = lost.cancel()
    for task in before._tasks._tasks:
        _ = task.cancel()  # as if it had been killed: it does not even forget the claim
    world.rows.remove, remove = _nothing, world.rows.remove
    await before.close()
    world.rows.remove = remove
    assert _holder(world) == "same"
    world.gate.set()
    assert [await world.once(after)] == world.things


async def _nothing(_record: IdempotencyRecord) -> bool:
    return False


def _holder(world: World) -> str | None:
    (row,) = world.rows._rows.values()
    holder: str | None = row.holder
    return holder
