"""What clients are told when their key is revoked while something goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sandlot import AuthenticationError, StreamStdoutEvent, TransportError
from tests.live.coding import Coding
from tests.live.world import Live, Server, eventually, marker, running


class Guest:
    """Somebody with a key of their own."""

    def __init__(self, owner: Any, client: Any, key_id: str) -> None:
        self.client = client
        self._owner = owner
        self._key_id = key_id

    async def revoke(self) -> None:
        await self._owner.api_keys.delete(self._key_id)


@asynccontextmanager
async def guest(colour: Any, server: Server) -> AsyncIterator[Guest]:
    async with colour.client(server.api_key, base_url=server.base_url) as owner:
        key = await owner.api_keys.create("of a guest")
        async with colour.client(key.key, base_url=server.base_url) as client:
            yield Guest(owner, client, key.id)


def check(error: AuthenticationError) -> None:
    assert (error.code, error.status_code) == ("unauthorized", 401)
    assert (error.outcome, error.is_retryable) == ("unknown", False)


async def first_output(stream: Any) -> None:
    async for event in stream:
        if isinstance(event, StreamStdoutEvent):
            return
    raise AssertionError("no output")


async def test_commands(live: Live) -> None:
    mark = marker()
    async with live.box() as there, guest(live.colour, live.server) as somebody:
        box = await somebody.client.sandboxes.get(there.id)
        line = f"printf 'half \\303'; echo err >&2; sleep {mark}"
        stream = box.exec_stream(line)
        await first_output(stream)
        waiting = asyncio.ensure_future(box.exec(f"sleep {mark}", timeout_sec=600))
        await eventually(lambda: len(running(f"sleep\0{mark}")) == 2)
        await somebody.revoke()
        with pytest.raises(AuthenticationError, match="What went on was ended") as caught:
            _ = [event async for event in stream]
        check(caught.value)
        assert (caught.value.stdout, caught.value.stderr) == (
            "half \N{REPLACEMENT CHARACTER}",
            "err\n",
        )
        with pytest.raises(AuthenticationError) as caught:
            _ = await waiting
        check(caught.value)
        # Nobody is left who could come back to them.
        await eventually(lambda: not running(f"sleep\0{mark}"))


async def test_what_runs_on(live: Live) -> None:
    async with live.box() as there, guest(live.colour, live.server) as somebody:
        box = await somebody.client.sandboxes.get(there.id)
        process = await box.spawn("echo on; sleep 1000")
        stream = process.stream()
        await first_output(stream)
        terminal = box.pty(["sh", "-c", "echo on; sleep 1000"], tag="seat")
        async for data in terminal:
            assert data == b"on\r\n"
            break
        await somebody.revoke()
        with pytest.raises(AuthenticationError) as caught:
            _ = [event async for event in stream]
        check(caught.value)
        assert caught.value.stdout == "on\n"
        with pytest.raises(AuthenticationError) as caught:
            _ = [data async for data in terminal]
        check(caught.value)
        tags = {each.tag for each in await there.processes.list()}
        assert tags == {process.tag, "seat"}


async def test_connections_that_break_before_anybody_says_why(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client comes back, and is told then."""
    async with live.box() as there, guest(live.colour, live.server) as somebody:
        box = await somebody.client.sandboxes.get(there.id)
        stream = box.exec_stream("echo on; sleep 1000")
        await first_output(stream)
        target = getattr(stream, "target", stream)
        monkeypatch.setattr(type(target._line._socket), "receive", broken(live.colour.is_blocking))
        await somebody.revoke()
        with pytest.raises(AuthenticationError, match="not known") as caught:
            _ = [event async for event in stream]
        check(caught.value)
        assert caught.value.stdout == "on\n"


def broken(is_blocking: bool) -> Any:
    def receive(_self: object, _timeout: object = None) -> Any:
        raise ConnectionError("broken")

    async def receive_later(_self: object, _timeout: object = None) -> Any:
        raise ConnectionError("broken")

    return receive if is_blocking else receive_later


async def test_downloads(live: Live) -> None:
    """They break off, as nothing else can be said there; whoever asks again is told why."""
    async with live.box() as there, guest(live.colour, live.server) as somebody:
        box = await somebody.client.sandboxes.get(there.id)
        _ = await there.exec("truncate -s 1G large")
        pieces = box.stream_download("large")
        async for _piece in pieces:
            break
        await somebody.revoke()
        with pytest.raises(TransportError):
            async for _piece in pieces:
                pass
        with pytest.raises(AuthenticationError):
            _ = await box.download("large")


async def test_code(coding: Coding) -> None:
    async with coding.own_context() as there, guest(coding.colour, coding.server) as somebody:
        box = await somebody.client.sandboxes.get(coding.sandbox_id)
        context = await box.code.get_context(there.id)
        stream = context.run_code_stream(
            "print('on', flush=True)\nimport time\ntime.sleep(1)\nx = 7"
        )
        async for _event in stream:
            break
        await somebody.revoke()
        with pytest.raises(AuthenticationError) as caught:
            _ = [event async for event in stream]
        check(caught.value)
        assert caught.value.stdout == "on\n"
        assert caught.value.execution is not None
        assert caught.value.execution.stdout == "on\n"
        # The kernel belongs to the sandbox, and runs the code to its end.
        assert (await there.run_code("x")).text == "7"
