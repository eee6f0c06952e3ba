"""Making, finding, freezing and removing sandboxes."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest

from sandlot import (
    AuthenticationError,
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    SandboxDestroyedError,
    SandboxStateError,
    SandlotError,
)
from sandlot.errors import ConnectError
from tests.colours import Colour
from tests.live.world import Live, Server, eventually, marker, running


async def ids(listing: Any) -> list[str]:
    return [box.id async for box in await listing]


async def test_what_the_server_says_of_itself(live: Live) -> None:
    async with live.client() as client:
        assert (await client.health()).status == "ok"
        capabilities = await client.capabilities()
        assert capabilities.isolation.level == "full"
        assert {"base-python", "minimal"} <= set(capabilities.templates)
        assert live.server.base_url in repr(client)
        assert live.server.api_key not in repr(client)
        answer = await client.request("GET", "/v1/capabilities")
        assert answer["isolation"]["engine"] == "local"


async def test_a_sandbox_from_beginning_to_end(live: Live) -> None:
    async with live.client() as client:
        box = await client.sandboxes.create(
            "base-python", vcpus=1, memory_mb=256, name="whole-life", metadata={"a": "b"}
        )
        assert re.fullmatch("cl-[0-9a-z]{25}", box.id)
        assert (box.status, box.name, box.template) == ("running", "whole-life", "base-python")
        assert dict(box.metadata) == {"a": "b"}
        assert (box.info.vcpus, box.info.memory_mb) == (1, 256)
        assert box.id in repr(box)
        assert (await box.wait_ready()).id == box.id
        assert (await box.refresh()).status == "running"
        assert (await box.exec("python3 -c 'print(6 * 7)'")).stdout == "42\n"
        await box.ping()
        await box.destroy()
        await box.destroy()
        assert box.status == "stopped"
        with pytest.raises(SandboxDestroyedError) as caught:
            _ = await box.exec("true")
        assert caught.value.outcome == "not_started"
        assert (await client.sandboxes.get(box.id)).status == "stopped"
        await client.sandboxes.destroy(box.id)
        assert box.id not in await ids(client.sandboxes.list())
        assert box.id in await ids(client.sandboxes.list(status="stopped"))


async def test_blocks_destroy_what_they_created_and_nothing_else(live: Live) -> None:
    async with live.client() as client:
        async with client.sandboxes.create(name="owned") as box:
            async with await client.sandboxes.get(box.id) as same:
                assert same.status == "running"
            async with await client.sandboxes.connect("owned") as same:
                assert same.id == box.id
            assert (await client.sandboxes.get(box.id)).status == "running"
        assert (await client.sandboxes.get(box.id)).status == "stopped"
        awaited = await client.sandboxes.create()
        async with awaited:
            pass
        assert (await client.sandboxes.get(awaited.id)).status == "stopped"
        with pytest.raises(ZeroDivisionError):
            async with client.sandboxes.create() as box:
                _ = 1 / 0
        assert (await client.sandboxes.get(box.id)).status == "stopped"


async def test_lists_in_pages_and_by_property(live: Live) -> None:
    tag = {"tag": marker()}
    async with live.client() as client:
        made = [
            await client.sandboxes.create(
                "minimal" if number % 2 else "base-python",
                name=f"listed-{number}",
                metadata={**tag, "number": str(number)},
            )
            for number in range(5)
        ]
        try:
            newest_first = [box.id for box in reversed(made)]
            sandboxes = client.sandboxes
            assert await ids(sandboxes.list(metadata=tag)) == newest_first
            page = await sandboxes.list(metadata=tag, limit=2)
            assert [len(each.items) async for each in page.pages()] == [2, 2, 1]
            assert [box.id async for box in page] == newest_first
            again = sandboxes.list(metadata=tag, limit=2, cursor=page.next_cursor)
            assert await ids(again) == newest_first[2:]
            assert await ids(sandboxes.list(metadata={**tag, "number": "3"})) == [made[3].id]
            assert await ids(sandboxes.list(name="listed-2")) == [made[2].id]
            odd = await ids(sandboxes.list(metadata=tag, template="minimal"))
            assert odd == [made[3].id, made[1].id]
            _ = await made[4].pause()
            assert await ids(sandboxes.list(metadata=tag, status="paused")) == [made[4].id]
            stats = await sandboxes.get_stats("5m")
            assert stats.current.running_count == 4
            with pytest.raises(ConflictError):
                _ = await sandboxes.create(name="listed-0")
        finally:
            for box in made:
                await box.destroy()
        assert await ids(client.sandboxes.list(metadata=tag)) == []


COUNT = """
import time
number = 0
with open("ticks", "w", buffering=1) as file:
    while True:
        number += 1
        print(number, time.monotonic(), file=file)
        time.sleep(0.01)
"""


async def test_a_paused_program_stands_still_and_goes_on(live: Live) -> None:
    async with live.box(template="base-python") as box:
        await box.upload("count.py", COUNT.encode())
        _ = await box.exec("python3 count.py > /dev/null 2>&1 &")
        await eventually(lambda: has_lines(box, "ticks", 10))
        assert (await box.pause()).status == "paused"
        assert (await box.refresh()).status == "paused"
        for refused in (box.exec("true"), box.download("ticks"), box.upload("x", b"")):
            with pytest.raises(SandlotError) as caught:
                _ = await refused
            assert caught.value.outcome == "not_started"
        with pytest.raises(SandboxStateError, match="resume"):
            _ = await box.wait_ready(timeout=1)
        await asyncio.sleep(1)  # the time that it stands still
        assert (await box.resume()).status == "running"
        await eventually(lambda: has_gap(box, 0.9))
        numbers = [int(line.split()[0]) for line in await complete_lines(box, "ticks")]
        assert numbers == list(range(1, len(numbers) + 1))


async def complete_lines(box: Any, path: str) -> list[str]:
    text = (await box.exec(["cat", path])).stdout
    return text[: text.rfind("\n") + 1].splitlines()


async def has_lines(box: Any, path: str, count: int) -> bool:
    return len(await complete_lines(box, path)) >= count


async def has_gap(box: Any, seconds: float) -> bool:
    times = [float(line.split()[1]) for line in await complete_lines(box, "ticks")]
    return any(later - sooner >= seconds for sooner, later in itertools.pairwise(times))


async def test_idle_sandboxes_are_paused_and_connect_wakes_them(live: Live) -> None:
    options = {"name": "sleepy", "timeout_sec": 2}
    async with live.client() as client, client.sandboxes.create(**options) as box:
        await eventually(lambda: has_status(box, "paused"))
        woken = await client.sandboxes.connect("sleepy")
        assert woken.status == "running"
        assert (await woken.exec("echo awake")).stdout == "awake\n"
        assert (await (await client.sandboxes.connect(box.id)).refresh()).status == "running"
        # A command that runs is no idleness, however quiet it is.
        assert (await box.exec("sleep 3.5")).ok
        assert (await box.refresh()).status == "running"


async def test_ping_keeps_awake(live: Live) -> None:
    async with live.box(timeout_sec=2) as box:
        loop = asyncio.get_running_loop()
        end = loop.time() + 4
        while loop.time() < end:
            await box.ping()
            await asyncio.sleep(0.2)
        assert (await box.refresh()).status == "running"
        await eventually(lambda: has_status(box, "paused"))


async def has_status(box: Any, status: str) -> bool:
    return bool((await box.refresh()).status == status)


async def has_stored(box: Any, size: int) -> bool:
    points = (await box.metrics("5m")).points
    return bool(points) and points[-1].disk_bytes >= size


async def test_metrics_grow_with_use(live: Live) -> None:
    async with live.box(template="base-python") as box:
        _ = await box.exec("dd if=/dev/zero of=data bs=1M count=8 2>/dev/null")
        await eventually(lambda: has_stored(box, 8 << 20))  # which is measured every few seconds
        metrics = await box.metrics("5m")
        assert metrics.sandbox_id == box.id
        assert metrics.points[-1].mem_bytes > 0
        with pytest.raises(InvalidRequestError):
            _ = await box.metrics("7 weeks")


async def test_environment_and_directory_of_creation(live: Live) -> None:
    async with live.box(env={"A": "creation", "B": "creation"}, cwd="/tmp") as box:
        result = await box.exec("echo $A $B; pwd", env={"B": "command"})
        assert result.stdout == "creation command\n/tmp\n"
        assert (await box.exec("pwd", cwd="/usr")).stdout == "/usr\n"


async def test_limits_of_creation_are_enforced(live: Live) -> None:
    async with live.box(template="base-python", memory_mb=128, disk_mb=1) as box:
        result = await box.exec("head -c 2000000 /dev/zero > big")
        assert not result.ok
        assert int((await box.exec("wc -c < big")).stdout) == 1 << 20


async def test_unknown_templates_and_networks(live: Live) -> None:
    async with live.client() as client:
        with pytest.raises(SandlotError, match=r"base-python, .*minimal") as caught:
            _ = await client.sandboxes.create("no-such-template")
        assert caught.value.outcome == "not_started"
        with pytest.raises(SandlotError):
            _ = await client.sandboxes.create(network="open")
        with pytest.raises(SandlotError):
            _ = await client.sandboxes.create(memory_mb=-1)


@pytest.mark.parametrize(
    "sandbox_id",
    ["", "..", "../stats", "a/b", "x" * 129, "cl-\0", "cl-\ud800", "é", "cl-%2e%2e", "a b", "-x"],
)
async def test_hostile_ids_are_not_sent(live: Live, sandbox_id: str) -> None:
    async with live.client() as client:
        for call in (client.sandboxes.get, client.sandboxes.destroy):
            with pytest.raises(InvalidArgumentError) as caught:
                _ = await call(sandbox_id)
            assert caught.value.outcome == "not_started"


async def test_overlong_ids_are_not_sent(live: Live) -> None:
    async with live.client() as client:
        with pytest.raises(InvalidArgumentError):
            _ = await client.sandboxes.get("cl-" + "z" * 25)  # more than 128 bits


async def test_malformed_and_unknown_ids(live: Live) -> None:
    async with live.client() as client:
        for malformed in ("x", "cl-short", "cl-" + "Z" * 25):
            with pytest.raises(InvalidRequestError):
                _ = await client.sandboxes.get(malformed)
        unknown = "cl-" + "0" * 25
        with pytest.raises(NotFoundError):
            _ = await client.sandboxes.get(unknown)
        with pytest.raises(NotFoundError):
            _ = await client.sandboxes.connect(unknown)
        with pytest.raises(NotFoundError):
            _ = await client.sandboxes.connect("nobody-has-this-name")
        await client.sandboxes.destroy(unknown)  # gone already is fine


async def test_destroying_ends_what_runs(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        command = asyncio.ensure_future(awaited(box.exec(["sleep", mark])))
        await eventually(lambda: running(mark))
        await box.destroy()
        with pytest.raises(SandlotError) as caught:
            _ = await command
        assert caught.value.outcome == "unknown"
        assert not running(mark)


async def awaited(call: Any) -> Any:
    return await call


async def test_wrong_key_and_no_key(live: Live) -> None:
    async with live.client(api_key="wrn_" + "0" * 32) as client:
        for call in (client.sandboxes.list(), client.sandboxes.create(), client.capabilities()):
            with pytest.raises(AuthenticationError) as caught:
                _ = await call
            assert caught.value.outcome == "not_started"
            assert "0" * 32 not in str(caught.value)
    async with live.box() as box, live.client(api_key="wrn_" + "0" * 32) as stranger:
        with pytest.raises(AuthenticationError):
            _ = await stranger.sandboxes.get(box.id)
    async with live.client(api_key=None) as client:
        with pytest.raises(AuthenticationError):
            _ = await client.sandboxes.list()


async def test_configured_by_the_environment(
    colour: Colour, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_API_KEY", server.api_key)
    monkeypatch.setenv("OTHER_BASE_URL", server.base_url)
    async with colour.from_env("OTHER_") as client:
        assert (await client.capabilities()).server == "sandlot"


async def test_an_address_where_nobody_is(colour: Colour) -> None:
    loop = asyncio.get_running_loop()
    async with colour.client("wrn_" + "0" * 32, base_url="http://127.0.0.1:1") as client:
        start = loop.time()
        for call in (client.health(), client.sandboxes.create()):
            with pytest.raises(ConnectError) as caught:
                _ = await call
            assert caught.value.outcome == "not_started"
            assert caught.value.is_retryable
        assert loop.time() - start < 5
