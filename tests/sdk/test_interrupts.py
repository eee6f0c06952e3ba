"""Ctrl-C, cancellation and abandonment: nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandlot import AsyncClient, Client
from tests.sdk.conftest import QUICK
from tests.sdk.toy import ID, INFO, Received, Toy, Wire

SANDBOX = f"/v1/sandboxes/{ID}"
CREATE = "POST /v1/sandboxes"
DELETE = f"DELETE {SANDBOX}"
UNDONE = [CREATE, "GET /v1/capabilities", CREATE, DELETE]


def stall(wire: Wire, request: Received) -> None:
    wire.stall()


def interrupt(wire: Wire, request: Received) -> None:
    """Press Ctrl-C while the client waits for this answer."""
    os.kill(os.getpid(), signal.SIGINT)
    wire.stall()


@pytest.fixture(autouse=True)
def _alone(unconfigured: Path) -> Iterator[None]:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    _ = signal.signal(signal.SIGINT, previous)


@pytest.fixture
def client(server: Toy) -> Iterator[Client]:
    with Client("k", base_url=server.base_url, retry=QUICK) as client:
        yield client


def awaiting(server: Toy) -> AsyncClient:
    return AsyncClient("k", base_url=server.base_url, retry=QUICK)


def keys(server: Toy) -> set[str]:
    return {
        request.headers["idempotency-key"] for request in server.received if str(request) == CREATE
    }


def test_ctrl_c_during_create(client: Client, server: Toy) -> None:
    server.told(CREATE, interrupt)
    with pytest.raises(KeyboardInterrupt):
        _ = client.sandboxes.create()
    assert server.asked == UNDONE
    assert len(keys(server)) == 1


def test_ctrl_c_while_create_waits_for_the_sandbox(client: Client, server: Toy) -> None:
    starting = {**INFO, "status": "starting"}
    server.told(CREATE, lambda wire, _: wire.answer(starting, 201))
    server.told(f"GET {SANDBOX}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _ = client.sandboxes.create()
    assert server.asked == [CREATE, f"GET {SANDBOX}", DELETE]


def test_ctrl_c_during_exec(client: Client, server: Toy) -> None:
    server.told(f"POST {SANDBOX}/exec", interrupt)
    with pytest.raises(KeyboardInterrupt), client.sandboxes.create() as sandbox:
        _ = sandbox.exec("sleep 99")
    assert server.asked[-1] == DELETE


def test_ctrl_c_during_destroy(client: Client, server: Toy) -> None:
    server.told(DELETE, interrupt)
    with pytest.raises(KeyboardInterrupt), client.sandboxes.create():
        pass
    assert server.asked == [CREATE, DELETE, DELETE]


def test_ctrl_c_twice_during_destroy_is_meant(client: Client, server: Toy) -> None:
    server.told(DELETE, interrupt, interrupt)
    with pytest.raises(KeyboardInterrupt), client.sandboxes.create():
        pass
    assert server.asked == [CREATE, DELETE, DELETE]


def test_an_undo_that_fails_is_logged(
    client: Client, server: Toy, caplog: pytest.LogCaptureFixture
) -> None:
    server.told(CREATE, interrupt, lambda wire, _: wire.problem("unauthorized", 401))
    with pytest.raises(KeyboardInterrupt):
        _ = client.sandboxes.create()
    assert "could not be undone" in caplog.text


def test_the_client_works_on_after_ctrl_c(client: Client, server: Toy) -> None:
    server.told(f"GET {SANDBOX}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _ = client.sandboxes.get(ID)
    assert client.sandboxes.get(ID).id == ID


def test_ctrl_c_in_asyncio(server: Toy) -> None:
    server.told(CREATE, interrupt)

    async def main() -> None:
        async with awaiting(server) as client, client.sandboxes.create():
            pass

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert server.asked == UNDONE
    assert len(keys(server)) == 1


async def cancelled(server: Toy, count: int, work: Callable[[], Any], *, times: int = 1) -> None:
    """Cancel work when so many requests have arrived, perhaps more than once."""
    task = asyncio.ensure_future(work())
    for extra in range(times):
        await asyncio.to_thread(server.wait_for, count + extra)
        _ = task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_during_create(server: Toy) -> None:
    server.told(CREATE, stall)
    async with awaiting(server) as client:

        async def work() -> None:
            async with client.sandboxes.create():
                pass

        await cancelled(server, 1, work)
        assert server.asked == UNDONE
        assert len(keys(server)) == 1


async def test_cancelled_again_while_undoing(server: Toy) -> None:
    held = threading.Event()

    def late(wire: Wire, request: Received) -> None:
        assert held.wait(20)
        wire.answer(INFO, 201)

    server.told(CREATE, stall, late)
    async with awaiting(server) as client:
        task = asyncio.ensure_future(client.sandboxes.create().__aenter__())
        await asyncio.to_thread(server.wait_for, 1)
        for _ in range(3):
            _ = task.cancel()
            await asyncio.to_thread(server.wait_for, 2)
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert server.asked == UNDONE


async def test_cancelled_during_destroy(server: Toy) -> None:
    server.told(DELETE, stall)
    async with awaiting(server) as client:

        async def work() -> None:
            async with client.sandboxes.create():
                pass

        await cancelled(server, 2, work)
    assert server.asked == [CREATE, DELETE, DELETE]


async def test_a_time_limit_around_exec(server: Toy) -> None:
    server.told(f"POST {SANDBOX}/exec", stall)
    async with awaiting(server) as client:
        with pytest.raises(TimeoutError):
            async with client.sandboxes.create() as sandbox:
                await asyncio.wait_for(sandbox.exec("sleep 99"), 0.2)
    assert server.asked == [CREATE, f"POST {SANDBOX}/exec", DELETE]


async def test_thrown_away_between_two_attempts(
    server: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pausing.set()
        await asyncio.Future()

    server.told(CREATE, lambda wire, _: wire.drop())
    async with awaiting(server) as client:
        coroutine = client.sandboxes.create().__aenter__()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            task = asyncio.ensure_future(coroutine)
            _ = await pausing.wait()
        coroutine.close()
        await asyncio.to_thread(server.wait_for, 4)
        _ = task.cancel()
        _ = await asyncio.gather(task, *client._transport._undoing, return_exceptions=True)
    assert server.asked == UNDONE


async def test_a_create_that_was_never_awaited_warns(server: Toy) -> None:
    async with awaiting(server) as client:
        _ = gc.collect()  # what others have left to be collected
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _ = client.sandboxes.create()
            del _
            _ = gc.collect()
    messages = [str(item.message) for item in caught if item.category is RuntimeWarning]
    assert ["never awaited" in message for message in messages] == [True]
    assert server.asked == []


async def test_a_create_gives_the_same_sandbox_when_awaited_again(server: Toy) -> None:
    async with awaiting(server) as client:
        creation = client.sandboxes.create()
        assert await creation is await creation
    assert server.asked == [CREATE]


async def test_a_create_can_be_a_task(server: Toy) -> None:
    async with awaiting(server) as client:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.sandboxes.create())
        assert (await task).id == ID
        given_up = client.sandboxes.create()
        given_up.close()
        refused = client.sandboxes.create()
        with pytest.raises(RuntimeError, match="no time"):
            _ = refused.throw(RuntimeError("no time"))
        refused.close()
    assert server.asked == [CREATE]


def test_one_client_for_several_event_loops(server: Toy) -> None:
    client = awaiting(server)

    async def work() -> str:
        return (await client.sandboxes.get(ID)).id

    assert asyncio.run(work()) == ID
    assert asyncio.run(work()) == ID
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(work()))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [ID] * 3
    asyncio.run(client.aclose())
    _ = gc.collect()  # an open connection would be reported, and that is an error here


def test_a_client_can_be_closed_from_another_loop(server: Toy) -> None:
    client = awaiting(server)
    used, closed = threading.Event(), threading.Event()

    async def use() -> None:
        _ = await client.sandboxes.get(ID)
        used.set()
        _ = await asyncio.to_thread(closed.wait, 20)

    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    assert used.wait(20)
    asyncio.run(client.aclose())
    closed.set()
    thread.join()


async def test_two_tasks_share_the_first_connection_pool(server: Toy) -> None:
    async with awaiting(server) as client:
        _ = await asyncio.gather(*(client.sandboxes.get(ID) for _ in range(10)))
        assert len(client._transport._bound) == 1
