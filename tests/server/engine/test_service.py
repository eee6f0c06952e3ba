"""What runs in a sandbox from the beginning, whatever it is."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from sandlot.server.engine.base import Command, PortClosedError, SandboxGoneError
from sandlot.server.engine.local.recipes import Service
from sandlot.server.engine.local.service import RunningService, ServiceError

from .conftest import Box, OpenBox, eventually

PORT = 4000


def run(box: Box, script: str, patience: float = 20.0) -> RunningService:
    """Begin to keep a shell script running."""
    service = Service(("/bin/sh", "-c", script), PORT, patience)
    return RunningService(service, lambda: box.sandbox.spawn(Command(service.argv)))


async def test_ready_and_prepared(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = run(
            box, "echo ready; until [ -e go ]; do sleep 0.01; done; echo prepared; sleep 600"
        )
        await service.wait_ready()
        waiting = asyncio.create_task(service.wait_prepared())
        assert (await box.shell("echo > go")).exit.code == 0
        await waiting
        service.stop()


async def test_one_that_says_something_else(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = run(box, "echo ready or not; echo it is broken >&2; exit 3")
        with pytest.raises(ServiceError, match=r"port 4000 ended with 3: (?s:.*)it is broken"):
            await service.wait_ready()
        service.stop()


async def test_one_that_does_not_exist(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = Service(("/nowhere/program",), PORT)
        running = RunningService(service, lambda: box.sandbox.spawn(Command(service.argv)))
        with pytest.raises(PortClosedError, match=r"ended with 127: /nowhere/program"):
            await running.wait_ready()
        running.stop()


async def test_one_that_is_slow(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = run(box, "sleep 600", patience=0.05)
        with pytest.raises(ServiceError, match=r"is not ready after 0\.05 seconds"):
            await service.wait_ready()
        service.stop()


async def test_it_is_started_again(open_box: OpenBox) -> None:
    script = "echo $$ >> pids; echo ready; echo prepared; exec sleep 600"
    async with open_box() as box:
        service = run(box, script)
        for count in (1, 2, 3):
            await service.wait_prepared()
            await box.until(f"[ $(wc -l < pids) = {count} ]")
            assert (await box.shell("kill -9 $(tail -n 1 pids)")).exit.code == 0
            assert await service.is_gone()
            await service.wait_ready()
        service.stop()


async def test_one_that_keeps_dying_is_started_less_and_less_often(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = run(box, "date +%s.%N >> starts; exit 1")
        await box.until("[ $(wc -l < starts) -ge 4 ]")
        service.stop()
        times = [float(line) for line in (await box.read("starts")).split()]
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert pauses[2] > 2 * pauses[0] > 0.05


async def test_it_is_not_held_up_by_what_it_says(open_box: OpenBox) -> None:
    script = "echo ready; echo prepared; head -c 3000000 /dev/zero; echo > done; sleep 600"
    async with open_box() as box:
        service = run(box, script)
        await service.wait_prepared()
        await box.until("[ -e done ]")
        service.stop()


async def test_one_whose_children_keep_its_outputs(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = run(box, "sleep 600 & echo the end >&2; exit 4")
        with pytest.raises(ServiceError, match="ended with 4: the end"):
            await service.wait_ready()
        service.stop()


async def test_the_end_of_the_sandbox(open_box: OpenBox) -> None:
    async with open_box() as box:
        service = run(box, "sleep 600")
        waiting = asyncio.create_task(service.wait_ready())
        await asyncio.sleep(0)
        await box.engine.destroy("box")
        with pytest.raises(SandboxGoneError):
            await waiting
        await eventually(service._task.done)
