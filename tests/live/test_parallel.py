"""Many clients at once, and many calls one after the other."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from sandlot import AsyncClient, Client
from tests.colours import Colour
from tests.live.world import Server, eventually, reset_peak_memory

CLIENTS = 20
CALLS = 5_000 if os.environ.get("SANDLOT_LONG_TESTS") else 500


def data_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * 4096


def work(client: Client, number: int) -> str:
    """Do some of everything, with data of one's own."""
    data = data_of(number)
    with client.sandboxes.create(name=f"parallel-{number}", env={"N": str(number)}) as box:
        box.upload("data", data)
        assert box.exec("echo $N").stdout == f"{number}\n"
        summed = box.exec("sha256sum", stdin=data).stdout.split()[0]
        assert summed == box.exec(["sha256sum", "data"]).stdout.split()[0]
        with box.exec_stream("cat; echo $N") as stream:
            stream.write_stdin(f"stdin {number} ")
            assert stream.wait().stdout == f"stdin {number} {number}\n"
        box.stream_upload("copy", [data, data])
        assert b"".join(box.stream_download("copy")) == data * 2
        assert box.download("data") == data
        assert box.refresh().name == f"parallel-{number}"
        return box.id


async def async_work(client: AsyncClient, number: int) -> str:
    data = data_of(number)
    options: dict[str, Any] = {"name": f"parallel-{number}", "env": {"N": str(number)}}
    async with client.sandboxes.create(**options) as box:
        await box.upload("data", data)
        assert (await box.exec("echo $N")).stdout == f"{number}\n"
        summed = (await box.exec("sha256sum", stdin=data)).stdout.split()[0]
        assert summed == (await box.exec(["sha256sum", "data"])).stdout.split()[0]
        async with box.exec_stream("cat; echo $N") as stream:
            await stream.write_stdin(f"stdin {number} ")
            assert (await stream.wait()).stdout == f"stdin {number} {number}\n"
        await box.stream_upload("copy", [data, data])
        assert b"".join([piece async for piece in box.stream_download("copy")]) == data * 2
        assert await box.download("data") == data
        assert (await box.refresh()).name == f"parallel-{number}"
        return box.id


@pytest.fixture(autouse=True)
def all_destroyed(server: Server) -> Any:
    yield
    with Client(server.api_key, base_url=server.base_url) as client:
        assert list(client.sandboxes.list()) == []
    assert server.homes == []


def test_threads_that_share_a_client(server: Server) -> None:
    client = Client(server.api_key, base_url=server.base_url)
    with client, ThreadPoolExecutor(CLIENTS) as pool:
        ids = list(pool.map(lambda number: work(client, number), range(CLIENTS)))
    assert len(set(ids)) == CLIENTS


def test_threads_with_clients_of_their_own(server: Server) -> None:
    def alone(number: int) -> str:
        with Client(server.api_key, base_url=server.base_url) as client:
            return work(client, number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert len(set(pool.map(alone, range(CLIENTS)))) == CLIENTS


def test_tasks_that_share_a_client(server: Server) -> None:
    async def main() -> list[str]:
        async with AsyncClient(server.api_key, base_url=server.base_url) as client:
            return await asyncio.gather(*(async_work(client, number) for number in range(CLIENTS)))

    assert len(set(asyncio.run(main()))) == CLIENTS


def test_commands_in_one_sandbox(server: Server) -> None:
    async def main() -> list[str]:
        async with (
            AsyncClient(server.api_key, base_url=server.base_url) as client,
            client.sandboxes.create() as box,
        ):
            results = await asyncio.gather(
                *(box.exec(["echo", str(number)]) for number in range(100))
            )
            return [result.stdout for result in results]

    assert asyncio.run(main()) == [f"{number}\n" for number in range(100)]


def test_event_loops_that_share_a_client(server: Server) -> None:
    client = AsyncClient(server.api_key, base_url=server.base_url)
    for number in range(3):  # one after the other
        _ = asyncio.run(async_work(client, number))
    threads = CLIENTS // 4  # and side by side
    barrier = threading.Barrier(threads)

    def run(number: int) -> str:
        _ = barrier.wait(20)
        return asyncio.run(async_work(client, number))

    with ThreadPoolExecutor(threads) as pool:
        assert len(set(pool.map(run, range(threads)))) == threads
    asyncio.run(client.aclose())


def footprint(server: Server) -> dict[str, tuple[int, int]]:
    """Return children and descriptors of all processes involved, the sandboxes included."""
    main = psutil.Process(server.pid)
    processes = {"client": psutil.Process(), "server": main}
    for child in main.children(recursive=True):
        processes[f"{child.pid}"] = child
    return {
        name: (0 if name == "client" else len(process.children()), process.num_fds())
        for name, process in processes.items()
    }


def memory(server: Server) -> dict[str, int]:
    main = psutil.Process(server.pid)
    pids = [os.getpid(), main.pid, *(child.pid for child in main.children(recursive=True))]
    return {f"process {pid}": reset_peak_memory(pid) for pid in pids}


async def test_nothing_grows_with_the_number_of_calls(colour: Colour, server: Server) -> None:
    async with (
        colour.client(server.api_key, base_url=server.base_url) as client,
        client.sandboxes.create() as box,
    ):

        async def call(times: int) -> None:
            for number in range(times):
                assert (await box.exec(["echo", str(number)])).stdout == f"{number}\n"

        await call(200)
        before, memory_before = footprint(server), memory(server)
        await call(CALLS)
        await eventually(lambda: footprint(server) == before)
        for name, size in memory(server).items():
            assert size - memory_before[name] < 2 << 20, name
