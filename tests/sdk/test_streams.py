"""Commands that are read while they run, against scripted servers, in both colours."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import socket
import threading
from typing import Any

import pytest

from sandlot import (
    CommandError,
    CommandFailedError,
    CommandTimeoutError,
    ConflictError,
    ConnectError,
    InvalidArgumentError,
    NotFoundError,
    RequestTimeoutError,
    Retry,
    SandboxStateError,
    StreamClosedError,
    StreamErrorEvent,
    StreamExitEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
    UnexpectedResponseError,
    UnsupportedError,
)
from sandlot.models import SandboxInfo
from sandlot.sandbox.sandbox import AsyncSandbox, Sandbox
from tests.colours import Colour, Twin
from tests.sdk.conftest import QUICK
from tests.sdk.toy import ID, INFO, Script, Stage, stage

STDIN_WINDOW = 1 << 20
STOPPED = StreamExitEvent(-1, "SIGKILL")


def sandbox_of(client: Any) -> Any:
    """Return a sandbox without asking the server, which speaks nothing but WebSocket here."""
    info = SandboxInfo.model_validate(INFO)
    if isinstance(client, Twin):
        return Twin(Sandbox(client.target._transport, info))
    return AsyncSandbox(client._transport, info)


def connected(colour: Colour, here: Stage, **options: Any) -> Any:
    return colour.client("wrn_secret", base_url=here.base_url, retry=QUICK, **options)


def begin(script: Script) -> Any:
    start = script.expect()
    assert start["type"] == "start"
    script.say("start", pid=7)
    return start


def finish(script: Script, code: int = 0, **fields: Any) -> None:
    script.say("exit", exit_code=code, **fields)


def hello(script: Script) -> None:
    _ = begin(script)
    script.output(b"out")
    script.output(b"err", 2)
    finish(script, 3)


def until_stopped(script: Script) -> None:
    """Run until the client says stop or hangs up."""
    _ = begin(script)
    said = script.expect()
    while said["type"] != "stop":
        said = script.expect()
    script.say("exit", exit_code=-1, signal="SIGKILL")


@pytest.mark.parametrize("framed", [True, False])
async def test_events(colour: Colour, framed: bool) -> None:
    with stage(hello, framed=framed) as here:
        async with connected(colour, here) as client:
            events = [event async for event in sandbox_of(client).exec_stream(["ls", "-l"])]
        await here.wait_played()
    assert events == [
        StreamStartEvent(7),
        StreamStdoutEvent(b"out"),
        StreamStderrEvent(b"err"),
        StreamExitEvent(3),
    ]
    (upgrade,) = here.upgrades
    assert upgrade.path == f"/v1/sandboxes/{ID}/exec/stream"
    assert upgrade.headers["X-API-Key"] == "wrn_secret"
    assert upgrade.headers["User-Agent"].startswith("sandlot-python/")


@pytest.mark.parametrize("framed", [True, False])
async def test_the_result(colour: Colour, framed: bool) -> None:
    with stage(hello, framed=framed) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("ls") as stream,
        ):
            result = await stream.wait()
            assert stream.pid == 7
            assert "'/bin/sh -c ls' in cl-" in repr(stream)
        await here.wait_played()
    assert (result.stdout, result.stderr, result.exit_code) == ("out", "err", 3)
    assert result.encoding == "utf-8"


async def test_the_result_of_a_stream_that_was_read(colour: Colour) -> None:
    """It has what came since: nothing, but for how the command ended."""
    with stage(hello) as here:
        async with connected(colour, here) as client:
            stream = sandbox_of(client).exec_stream("ls")
            assert len([event async for event in stream]) == 4
            for _ in range(2):
                result = await stream.wait()
                assert (result.stdout, result.stderr, result.exit_code) == ("", "", 3)
        await here.wait_played()


async def test_stdin_is_empty_when_the_stream_is_just_read(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        assert script.expect() == {"type": "stdin_close"}
        finish(script)

    with stage(play) as here:
        async with connected(colour, here) as client:
            assert len([event async for event in sandbox_of(client).exec_stream("cat")]) == 2
        await here.wait_played()


async def test_exec_with_callbacks(colour: Colour) -> None:
    def play(script: Script) -> None:
        start = begin(script)
        assert (start["timeout_sec"], start["cwd"]) == (30, "/tmp")
        assert [script.expect(), script.expect()] == [(0, b"in"), {"type": "stdin_close"}]
        script.output("é".encode()[:1])
        script.output("é".encode()[1:])
        script.output(b"bad", 2)
        finish(script, 1)

    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append(text)

    with stage(play) as here:
        async with connected(colour, here) as client:
            sandbox = sandbox_of(client)
            with pytest.raises(CommandFailedError, match="exited 1: bad"):
                await sandbox.exec(
                    "ls",
                    cwd="/tmp",
                    stdin="in",
                    check=True,
                    on_stdout=heard.append if colour.is_blocking else hear,
                    on_stderr=heard.append,
                )
        await here.wait_played()
    assert heard == ["é", "bad"]


async def test_output_beyond_the_limit_is_discarded(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        script.output(b"12345")
        script.output(b"\xff6789")
        finish(script)

    with stage(play) as here:
        async with connected(colour, here) as client:
            result = await sandbox_of(client).exec_stream("x").wait(max_output_bytes=6)
        await here.wait_played()
    assert result.stdout_bytes == b"12345\xff"
    assert (result.truncated, result.encoding) == (True, "base64")


@pytest.mark.parametrize("framed", [True, False])
async def test_a_connection_that_drops_after_the_end(colour: Colour, framed: bool) -> None:
    def play(script: Script) -> None:
        hello(script)
        script.drop()

    with stage(play, framed=framed) as here:
        async with connected(colour, here) as client:
            assert (await sandbox_of(client).exec_stream("ls").wait()).exit_code == 3
        await here.wait_played()


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("how", ["drop", "close"])
async def test_a_connection_that_ends_before_the_command(
    colour: Colour, framed: bool, how: str
) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        script.output(b"so far")
        if how == "drop":
            script.drop()

    with stage(play, framed=framed) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("ls") as stream,
        ):
            assert [await anext(stream), await anext(stream)] == [
                StreamStartEvent(7),
                StreamStdoutEvent(b"so far"),
            ]
            for _ in range(2):
                with pytest.raises(StreamClosedError) as caught:
                    await anext(stream)
        await here.wait_played()
    assert (caught.value.stdout, caught.value.outcome) == ("so far", "unknown")


async def test_an_error_of_the_server(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        script.output(b"so far")
        script.say("error", data="the guest is gone", code="agent_error")

    with stage(play) as here:
        async with connected(colour, here) as client:
            sandbox = sandbox_of(client)
            events = [event async for event in sandbox.exec_stream("ls")]
            assert events[-1] == StreamErrorEvent("the guest is gone", "agent_error")
            stream = sandbox.exec_stream("ls")
            assert len([event async for event in stream]) == 3
            with pytest.raises(CommandError, match="the guest is gone") as caught:
                await stream.wait()
            assert caught.value.outcome == "unknown"
            with pytest.raises(CommandError, match="the guest is gone") as caught:
                await sandbox.exec_stream("ls").wait()
        await here.wait_played()
    assert (caught.value.stdout, caught.value.code) == ("so far", "agent_error")
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize(
    ("data", "code", "kind", "outcome"),
    [
        ("no such user", "invalid_request", CommandError, "not_started"),
        ("context deadline exceeded", None, CommandTimeoutError, "unknown"),
    ],
)
async def test_errors_that_come_first(
    colour: Colour, data: str, code: str | None, kind: type[Exception], outcome: str
) -> None:
    def play(script: Script) -> None:
        _ = script.expect()
        script.say("error", data=data, **({"code": code} if code else {}))

    with stage(play) as here:
        async with connected(colour, here) as client:
            with pytest.raises(kind) as caught:
                await sandbox_of(client).exec_stream("ls").wait()
        await here.wait_played()
    assert getattr(caught.value, "outcome", None) == outcome


async def test_a_malformed_message(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        script.say("exit")
        _ = script.wait_closed()

    with stage(play) as here:
        async with connected(colour, here) as client:
            with pytest.raises(UnexpectedResponseError, match="exit_code"):
                async with sandbox_of(client).exec_stream("ls") as stream:
                    _ = [event async for event in stream]
        await here.wait_played()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b'{"error": {"code": "not_found", "message": "gone"}}', NotFoundError),
        (409, b'{"error": {"code": "invalid_state", "message": "paused"}}', ConflictError),
        (404, b"404 page not found", NotFoundError),
        (302, b"", UnexpectedResponseError),
    ],
)
async def test_a_refusal(colour: Colour, status: int, body: bytes, kind: type[Exception]) -> None:
    # Without a code there may be no such path, and another is tried.
    asked = 2 if body.startswith(b"404") else 1
    with stage(hello) as here:
        here.refusals += [(status, body)] * asked
        async with connected(colour, here) as client:
            with pytest.raises(kind) as caught:
                async with sandbox_of(client).exec_stream("ls"):
                    pass
    assert getattr(caught.value, "request_id", None) == "r-7"
    assert len(here.upgrades) == asked


async def test_an_unavailable_server_is_asked_again(colour: Colour) -> None:
    with stage(hello) as here:
        here.refusals.extend([(503, b""), (502, b"")])
        async with connected(colour, here) as client:
            assert (await sandbox_of(client).exec_stream("ls").wait()).exit_code == 3
        await here.wait_played()
    assert len(here.upgrades) == 3


async def test_nobody_there(colour: Colour) -> None:
    with stage(hello) as here:
        pass
    async with connected(colour, here) as client:
        with pytest.raises(ConnectError, match="nothing was run") as caught:
            await sandbox_of(client).exec_stream("ls").wait()
    assert caught.value.outcome == "not_started"


async def test_a_server_that_does_not_answer(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandlot._transport.common._CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with colour.client("k", base_url=base_url, retry=Retry(attempts=1)) as client:
            with pytest.raises(RequestTimeoutError, match="not open after") as caught:
                await sandbox_of(client).exec_stream("ls").wait()
    assert (caught.value.outcome, caught.value.is_retryable) == ("not_started", True)


async def test_leaving_stops_the_command(colour: Colour) -> None:
    with stage(until_stopped) as here:
        async with connected(colour, here) as client:
            stream = sandbox_of(client).exec_stream("yes")
            async with stream:
                assert await anext(stream) == StreamStartEvent(7)
            assert await anext(stream) == STOPPED
        await here.wait_played()


async def test_leaving_by_an_exception_stops_the_command(colour: Colour) -> None:
    with stage(until_stopped) as here:
        async with connected(colour, here) as client:
            with pytest.raises(LookupError):
                async with sandbox_of(client).exec_stream("yes"):
                    raise LookupError
        await here.wait_played()


async def test_leaving_a_command_that_prints_for_ever(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        stopped = threading.Event()

        def listen() -> None:
            while script.expect()["type"] != "stop":
                pass
            stopped.set()

        listener = threading.Thread(target=listen)
        listener.start()
        while not stopped.is_set():
            script.output(b"y\n" * 30_000)
        listener.join()
        script.say("exit", exit_code=-1, signal="SIGKILL")

    with stage(play) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("yes") as stream,
        ):
            async for event in stream:
                if isinstance(event, StreamStdoutEvent):
                    break
        await here.wait_played()


async def test_dropping_the_stream_stops_the_command(colour: Colour) -> None:
    hung_up = threading.Event()

    def play(script: Script) -> None:
        _ = begin(script)
        _ = script.wait_closed()
        hung_up.set()

    with stage(play) as here:
        async with connected(colour, here) as client:
            async for event in sandbox_of(client).exec_stream("yes"):
                assert event == StreamStartEvent(7)
                break
            del event
            _ = gc.collect()
            assert await asyncio.to_thread(hung_up.wait, 20)
        await here.wait_played()


async def test_an_original_server_that_only_detaches(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        assert script.expect() == {"type": "stop"}
        script.drop()

    with stage(play, framed=False) as here:
        async with connected(colour, here) as client, sandbox_of(client).exec_stream("yes"):
            pass
        await here.wait_played()


async def test_signals(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        names = [script.expect()["signal"] for _ in range(3)]
        assert names == ["SIGINT", "SIGTERM", "SIGKILL"]
        finish(script, -1, signal="SIGKILL")

    with stage(play) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("x") as stream,
        ):
            await stream.signal(2)
            await stream.signal("term")
            await stream.kill()
            for wrong in ("SIGNONSENSE", 999, None):
                with pytest.raises(InvalidArgumentError):
                    await stream.signal(wrong)
            assert (await stream.wait()).signal == "SIGKILL"
        await here.wait_played()


async def test_an_original_server_has_neither_stdin_nor_signals(colour: Colour) -> None:
    with stage(until_stopped, framed=False) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("x") as stream,
        ):
            with pytest.raises(UnsupportedError):
                await stream.write_stdin("x")
            with pytest.raises(UnsupportedError):
                await stream.kill()
        await here.wait_played()


async def test_a_time_limit_that_an_original_server_would_ignore(colour: Colour) -> None:
    with stage(lambda script: None, framed=False) as here:
        async with connected(colour, here) as client:
            with pytest.raises(UnsupportedError, match="Nothing was sent"):
                await sandbox_of(client).exec_stream("x", timeout_sec=3).wait()
        await here.wait_played()


async def test_stdin_waits_for_the_command(colour: Colour) -> None:
    data = random.Random(1).randbytes(5 * STDIN_WINDOW // 2)

    def play(script: Script) -> None:
        _ = begin(script)
        digest, taken, unacknowledged = hashlib.sha256(), 0, 0
        while True:
            said = script.expect()
            if said == {"type": "stdin_close"}:
                break
            offset, piece = said
            assert offset == taken
            taken += len(piece)
            unacknowledged += len(piece)
            assert unacknowledged <= STDIN_WINDOW
            digest.update(piece)
            if unacknowledged == STDIN_WINDOW:
                script.output(b".")
                script.say("ack", offset=taken)
                unacknowledged = 0
        script.output(digest.hexdigest().encode())
        finish(script)

    with stage(play) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("sha256sum") as stream,
        ):
            await stream.write_stdin(data[:10])
            await stream.write_stdin(data[10:])
            result = await stream.wait()
            assert result.stdout == ".." + hashlib.sha256(data).hexdigest()
            result = await sandbox_of(client).exec_stream("sha256sum", stdin=data).wait()
            assert result.stdout == ".." + hashlib.sha256(data).hexdigest()
        await here.wait_played()
        await here.wait_played()


async def test_stdin_of_a_command_that_has_ended(colour: Colour) -> None:
    with stage(hello) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("true") as stream,
        ):
            with pytest.raises(CommandError, match="before it read") as caught:
                await stream.write_stdin(bytes(2 * STDIN_WINDOW))
            assert caught.value.outcome == "finished"
            assert (await stream.wait()).exit_code == 3
        await here.wait_played()


async def test_reading_and_writing_at_once(colour: Colour) -> None:
    def play(script: Script) -> None:
        """Echo, acknowledging only what has been echoed."""
        _ = begin(script)
        while (said := script.expect()) != {"type": "stdin_close"}:
            offset, piece = said
            script.output(piece)
            script.say("ack", offset=offset + len(piece))
        finish(script)

    data = bytes(24 * STDIN_WINDOW)
    with stage(play) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("cat") as stream,
        ):

            async def write() -> None:
                await stream.write_stdin(data)
                await stream.close_stdin()

            writing = asyncio.ensure_future(write())
            received = 0
            async for event in stream:
                if isinstance(event, StreamStdoutEvent):
                    received += len(event.data_bytes)
            await writing
        await here.wait_played()
    assert received == len(data)


async def test_writing_without_reading_does_not_hang(colour: Colour) -> None:
    def play(script: Script) -> None:
        _ = begin(script)
        while isinstance(said := script.expect(), tuple):
            offset, piece = said
            script.output(piece)
            script.say("ack", offset=offset + len(piece))
        assert said["type"] == "stop"
        finish(script)

    with stage(play) as here:
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("cat") as stream,
        ):
            with pytest.raises(CommandError, match="another thread or task"):
                await stream.write_stdin(bytes(24 * STDIN_WINDOW))
        await here.wait_played()


async def test_a_stream_that_was_stopped_before_it_was_started(colour: Colour) -> None:
    with stage(hello) as here:
        async with connected(colour, here) as client:
            stream = sandbox_of(client).exec_stream("ls")
            await stream.stop()
            with pytest.raises(SandboxStateError, match="stopped before"):
                await stream.wait()
    assert here.upgrades == []


async def test_a_command_that_nothing_was_sent_for(colour: Colour) -> None:
    with stage(hello) as here:
        async with connected(colour, here) as client:
            with pytest.raises(InvalidArgumentError):
                sandbox_of(client).exec_stream("")
    assert here.upgrades == []


async def test_a_time_limit_while_waiting_for_an_event(unconfigured: Any) -> None:
    """A cancelled wait loses nothing: what comes later is still there."""
    go_on = threading.Event()

    def play(script: Script) -> None:
        _ = begin(script)
        assert go_on.wait(20)
        script.output(b"late")
        finish(script)

    with stage(play) as here:
        colour = Colour("asyncio")
        async with (
            connected(colour, here) as client,
            sandbox_of(client).exec_stream("x") as stream,
        ):
            assert await anext(stream) == StreamStartEvent(7)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.1)
            go_on.set()
            assert await anext(stream) == StreamStdoutEvent(b"late")
        await here.wait_played()


async def test_a_cancelled_exec_hangs_up(unconfigured: Any) -> None:
    hung_up = threading.Event()
    started = threading.Event()

    def play(script: Script) -> None:
        _ = begin(script)
        started.set()
        said = script.wait_closed()
        assert {"type": "stop"} in said
        hung_up.set()

    with stage(play) as here:
        async with connected(Colour("asyncio"), here) as client:
            call = sandbox_of(client).exec("sleep 99", on_stdout=print)
            task = asyncio.ensure_future(call)
            assert await asyncio.to_thread(started.wait, 20)
            _ = task.cancel()
            await asyncio.sleep(0)
            _ = task.cancel()  # the first is still saying stop
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(hung_up.wait, 20)
        await here.wait_played()
