"""Leases: they keep sandboxes for as long as somebody lives who wants them, and no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandlot import Client, LeaseLostError
from sandlot.errors import InvalidRequestError
from tests.live.world import Live, Server, eventually, until

PERIOD = 2
PROGRAM = """
import asyncio, sys
from sandlot import AsyncClient, Client

def blocking(client):
    with client.sandboxes.create(lease_sec={period}) as one, client.sandboxes.create(
        lease_sec={period}
    ) as two:
        print(one.id, two.id, flush=True)
        sys.stdin.read()

async def awaiting(client):
    async with client, client.sandboxes.create(lease_sec={period}) as one:
        async with client.sandboxes.create(lease_sec={period}) as two:
            print(one.id, two.id, flush=True)
            await asyncio.to_thread(sys.stdin.read)

if {awaited}:
    asyncio.run(awaiting(AsyncClient({key!r}, base_url={url!r})))
else:
    with Client({key!r}, base_url={url!r}) as client:
        blocking(client)
"""


@contextmanager
def holder(server: Server, *, awaited: bool) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start a process that holds two sandboxes with leases until its input ends."""
    program = PROGRAM.format(
        period=PERIOD, awaited=awaited, key=server.api_key, url=server.base_url
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()
        finally:
            process.kill()


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "asyncio"])
def test_those_of_a_client_that_is_killed_are_gone_within_two_periods(
    server: Server, awaited: bool
) -> None:
    with (
        Client(server.api_key, base_url=server.base_url) as client,
        holder(server, awaited=awaited) as (dying, lost),
        holder(server, awaited=awaited) as (living, kept),
    ):
        assert len(lost) == len(kept) == 2
        time.sleep(1.5 * PERIOD)  # longer than a lease lasts by itself
        assert {client.sandboxes.get(each).status for each in lost} == {"running"}
        dying.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: {client.sandboxes.get(each).status for each in lost} == {"stopped"})
        assert time.monotonic() - killed <= 2 * PERIOD
        for each in lost:
            reason = client.sandboxes.get(each).info.status_reason
            assert reason == f"Its lease was not renewed for {PERIOD} seconds."
        assert {client.sandboxes.get(each).status for each in kept} == {"running"}
        assert living.stdin is not None
        living.stdin.close()
        assert living.wait(20) == 0
        assert {client.sandboxes.get(each).status for each in kept} == {"stopped"}


async def test_a_block_keeps_its_sandbox(live: Live) -> None:
    async with live.box(lease_sec=1) as box:
        assert (box.info.lease_sec, box.info.expires_at is None) == (1, False)
        await asyncio.sleep(2.5)  # longer than the lease
        assert (await box.refresh()).status == "running"
        _ = await box.pause()
        await asyncio.sleep(1.5)  # so does a pause
        assert (await box.refresh()).status == "paused"


async def test_without_a_block_a_lease_is_kept_by_hand(live: Live) -> None:
    async with live.client() as client:
        box = await client.sandboxes.create(lease_sec=1)
        first = await box.renew_lease()
        async with await awaited(box.keep_alive()):
            await asyncio.sleep(1.5)  # longer than the lease
            assert await box.renew_lease() > first
        await eventually(lambda: is_gone(box))
        with pytest.raises(LeaseLostError, match="not renewed for 1 seconds"):
            _ = await box.renew_lease()
        with pytest.raises(LeaseLostError):
            async with await awaited(box.keep_alive()):
                raise AssertionError("the block must not begin")


async def test_a_sandbox_without_a_lease_cannot_be_kept(live: Live) -> None:
    async with live.box() as box:
        with pytest.raises(InvalidRequestError, match="lease_sec"):
            async with await awaited(box.keep_alive()):
                raise AssertionError("the block must not begin")


async def test_who_keeps_what_somebody_else_destroys_is_told(live: Live) -> None:
    async def lose(last: Callable[[], object]) -> None:
        async with live.box(lease_sec=1) as box, live.client() as other:
            await other.sandboxes.destroy(box.id)
            await asyncio.sleep(0.7)  # two beats
            _ = last()

    with pytest.raises(LeaseLostError, match="is gone, and its lease with it"):
        await lose(lambda: None)
    with pytest.raises(ZeroDivisionError):  # what went wrong first is what is raised
        await lose(lambda: 1 / 0)


async def test_who_destroys_it_inside_of_the_block_is_not(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create(lease_sec=1) as box:
        await box.destroy()
        await asyncio.sleep(0.7)  # two beats


async def test_lost_beats_are_borne(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    async with live.client() as client, client.sandboxes.create(lease_sec=6) as box:
        with live.server.held():
            await asyncio.sleep(4.5)  # a beat, and the patience of a beat
        await asyncio.sleep(2.5)  # another beat
        assert (await box.refresh()).status == "running"
        messages = [each.getMessage() for each in caplog.records if "lease" in each.getMessage()]
        assert messages
        assert all("was not renewed, trying again" in message for message in messages)
    assert live.server.api_key not in caplog.text


async def test_cancellation_stops_the_beats(live: Live) -> None:
    async with live.client() as client:
        began = asyncio.Event()
        ids: list[str] = []

        async def hold() -> None:
            async with client.sandboxes.create(lease_sec=1) as box:
                ids.append(box.id)
                began.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        _ = await began.wait()
        _ = task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.sandboxes.get(ids[0])).status == "stopped"
        others = {each for each in asyncio.all_tasks() if each is not asyncio.current_task()}
        assert not [each for each in others if "AsyncPulse" in repr(each)]


def test_ctrl_c_stops_the_beats(server: Server) -> None:
    with holder(server, awaited=False) as (process, ids):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    with Client(server.api_key, base_url=server.base_url) as client:
        assert {client.sandboxes.get(each).status for each in ids} == {"stopped"}


def test_a_forked_child_neither_keeps_nor_ends_it(server: Server) -> None:
    with (
        Client(server.api_key, base_url=server.base_url) as client,
        client.sandboxes.create(lease_sec=1) as box,
    ):
        keeper = box.keep_alive().__enter__()
        child = os.fork()
        if child == 0:
            keeper.__exit__(None, None, None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        time.sleep(1.5)  # longer than the lease
        assert box.refresh().status == "running"
        keeper.__exit__(None, None, None)


async def test_what_is_there_is_found(live: Live) -> None:
    async with live.client() as client:
        async with client.sandboxes.create(name="there", if_exists="get") as box:
            _ = await box.pause()
            async with client.sandboxes.create(name="there", if_exists="get") as same:
                assert (same.id, same.status) == (box.id, "running")
            assert (await box.refresh()).status == "running", "only who made it destroys it"
        assert (await client.sandboxes.get(box.id)).status == "stopped"


async def test_many_are_stopped_and_reaped(live: Live) -> None:
    async with live.client() as client:
        mine = [await client.sandboxes.create(metadata={"of": "me"}) for _ in range(3)]
        other = await client.sandboxes.create(name="other")
        _ = await mine[0].pause()
        found = await client.sandboxes.reap(metadata={"of": "me"}, dry_run=True)
        assert {info.id for info in found} == {box.id for box in mine}
        assert await client.sandboxes.reap(metadata={"of": "me"}, older_than=60) == []
        assert await client.sandboxes.reap(metadata={"of": "me"}, inactive_for=60) == []
        (reaped,) = await client.sandboxes.reap(metadata={"of": "me"}, status="paused")
        assert reaped.id == mine[0].id
        report = await client.sandboxes.stop_many([box.id for box in mine])
        assert (set(report.stopped), report.failed) == ({box.id for box in mine}, [])
        (last,) = await client.sandboxes.reap(name="other")
        assert last.id == other.id
        assert await client.sandboxes.reap(older_than=0) == []


async def is_gone(box: Any) -> bool:
    return (await box.refresh()).status == "stopped"


async def awaited(value: Any) -> Any:
    """Return what a method returned: in the blocking colour, all of them are awaited."""
    return await value if asyncio.iscoroutine(value) or hasattr(value, "__await__") else value
