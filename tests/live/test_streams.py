"""Commands whose output is read while they run."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from sandlot import (
    CommandError,
    NotFoundError,
    SandlotError,
    StreamExitEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)
from sandlot.errors import InvalidArgumentError, SandboxStateError
from tests.live.world import Live, eventually, marker, running


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


def stdout(events: list[Any]) -> bytes:
    return b"".join(e.data_bytes for e in events if isinstance(e, StreamStdoutEvent))


async def until_output(stream: Any) -> str:
    async for event in stream:
        if isinstance(event, StreamStdoutEvent):
            return event.data
    raise AssertionError("no output")


async def test_events_in_order(live: Live) -> None:
    async with live.box() as box:
        line = "echo out; echo err >&2; exit 5"
        async with box.exec_stream(line, env={"A": "b"}, cwd="/tmp") as stream:
            events = await collect(stream)
            assert await collect(stream) == []
            assert stream.pid == events[0].pid
        assert isinstance(events[0], StreamStartEvent)
        assert events[-1] == StreamExitEvent(5)
        assert stdout(events) == b"out\n"
        assert [e.data for e in events if isinstance(e, StreamStderrEvent)] == ["err\n"]
        assert len({type(event) for event in events}) == 4
        assert box.id in repr(stream)


async def test_iterating_without_a_block(live: Live) -> None:
    async with live.box() as box:
        # Nobody can write to its stdin, so it is empty.
        events = await collect(box.exec_stream(["cat"]))
        assert events[-1] == StreamExitEvent(0)


async def test_output_comes_while_the_command_runs(live: Live) -> None:
    line = "echo first; read line; echo got $line"
    async with live.box() as box, box.exec_stream(line) as stream:
        assert await until_output(stream) == "first\n"
        await stream.write_stdin("second\n")
        assert await until_output(stream) == "got second\n"
        result = await stream.wait()
        assert (result.exit_code, result.stdout) == (0, "")


async def test_stdin_in_pieces_and_at_once(live: Live) -> None:
    data = bytes(range(256)) * (3 << 12)  # 3 MiB, more than may be on its way
    async with live.box() as box:
        async with box.exec_stream("sha256sum; cat >&2") as stream:
            for start in range(0, len(data), 1 << 18):
                await stream.write_stdin(data[start : start + (1 << 18)])
            result = await stream.wait()
        expected = await box.exec("sha256sum", stdin=data)
        assert result.stdout == expected.stdout
        assert stdout(await collect(box.exec_stream(["sha256sum"], stdin=data))) == (
            expected.stdout_bytes
        )
        async with box.exec_stream(["cat"]) as stream:
            await stream.write_stdin("é")
            await stream.close_stdin()
            with pytest.raises(InvalidArgumentError):
                await stream.write_stdin("more")
            assert stdout(await collect(stream)) == "é".encode()


async def test_stdin_while_the_output_is_read(live: Live) -> None:
    data = b"0123456789abcde\n" * (1 << 18)  # 4 MiB there and back
    async with live.box() as box, box.exec_stream(["cat"]) as stream:
        reading = asyncio.ensure_future(collect(stream))
        for start in range(0, len(data), 1 << 18):
            await stream.write_stdin(data[start : start + (1 << 18)])
        await stream.close_stdin()
        assert stdout(await reading) == data


async def write_much(stream: Any) -> None:
    for _ in range(64):
        await stream.write_stdin(b"x" * (1 << 20))


async def test_stdin_of_a_command_that_ended(live: Live) -> None:
    async with live.box() as box, box.exec_stream("exit 3") as stream:
        with pytest.raises(CommandError) as caught:
            await write_much(stream)
        assert caught.value.outcome == "finished"
        assert (await stream.wait()).exit_code == 3


async def test_stdin_of_a_command_that_never_reads(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        async with box.exec_stream(["sleep", mark]) as stream:
            writing = asyncio.ensure_future(awaited(stream.write_stdin(b"x" * (4 << 20))))
            await eventually(lambda: running(mark))
            await stream.kill()
            with pytest.raises(CommandError):
                await writing
            result = await stream.wait()
            assert (result.exit_code, result.signal) == (-1, "SIGKILL")


async def awaited(call: Any) -> Any:
    return await call


async def test_wait_returns_what_was_not_iterated_over(live: Live) -> None:
    line = "echo one; read x; echo two; echo three >&2; exit 2"
    async with live.box() as box, box.exec_stream(line) as stream:
        assert await until_output(stream) == "one\n"
        pieces: list[str] = []
        result = await stream.wait(on_stdout=pieces.append)
        assert (result.stdout, result.stderr, result.exit_code) == ("two\n", "three\n", 2)
        assert pieces == ["two\n"]


async def test_time_limit(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        events = await collect(box.exec_stream(f"echo a; sleep {mark}; true", timeout_sec=1))
        assert stdout(events) == b"a\n"
        assert events[-1].timed_out
        assert events[-1].exit_code == -1
        assert not running(mark)


async def test_signals(live: Live) -> None:
    async with live.box() as box:
        line = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done"
        for signal in ("SIGINT", 2):
            async with box.exec_stream(line) as stream:
                assert await until_output(stream) == "ready\n"
                await stream.signal(signal)
                events = await collect(stream)
            assert stdout(events) == b"interrupted\n"
            assert events[-1] == StreamExitEvent(9)
        async with box.exec_stream(["sleep", "600"]) as stream:
            for wrong in ("SIGNONSENSE", 0, 10_000):
                with pytest.raises(InvalidArgumentError):
                    await stream.signal(wrong)
            await stream.kill()
            assert (await collect(stream))[-1] == StreamExitEvent(-1, "SIGKILL")


async def fail_inside(stream: Any) -> None:
    async with stream:
        assert await until_output(stream) == "started\n"
        _ = 1 / 0


@pytest.mark.parametrize("how", ["stop", "block", "break", "raise", "drop"])
async def test_every_way_of_leaving_stops_the_command(live: Live, how: str) -> None:
    async with live.box(template="base-python") as box:
        mark = marker()
        # One that detached itself is included.
        stream = box.exec_stream(f"setsid sleep {mark} & echo started; sleep {mark}")
        if how == "stop":
            assert await until_output(stream) == "started\n"
            await stream.stop()
            await stream.stop()
            assert not running(mark)
        elif how == "block":
            async with stream:
                assert await until_output(stream) == "started\n"
            assert not running(mark)
        elif how == "break":
            async with stream:
                async for event in stream:
                    if isinstance(event, StreamStdoutEvent):
                        break
            assert not running(mark)
        elif how == "raise":
            with pytest.raises(ZeroDivisionError):
                await fail_inside(stream)
            assert not running(mark)
        else:
            assert await until_output(stream) == "started\n"
            await eventually(lambda: len(running(mark)) >= 2)
            del stream
            _ = gc.collect()
        await eventually(lambda: not running(mark))
        assert (await box.exec("true")).ok


@pytest.mark.parametrize("how", ["stop", "timeout"])
async def test_a_command_has_ended_when_all_that_was_to_end_with_it_has(
    live: Live, how: str
) -> None:
    """The program itself ends at once; what it started is killed a second later."""
    async with live.box() as box:
        mark = marker()
        stubborn = f"trap '' TERM; echo started; sleep {mark}; true"
        seconds = 2 if how == "timeout" else 0
        line = f'setsid sh -c "{stubborn}" & sleep {mark}'
        async with box.exec_stream(line, timeout_sec=seconds) as stream:
            if how == "timeout":
                assert (await collect(stream))[-1].timed_out
            else:
                assert await until_output(stream) == "started\n"
                await stream.stop()
            assert not running(mark)


async def test_one_that_prints_for_ever_can_be_stopped(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        async with box.exec_stream(f": {mark}; yes; true") as stream:
            received = 0
            async for event in stream:
                if isinstance(event, StreamStdoutEvent):
                    received += len(event.data_bytes)
                if received > 32 << 20:
                    break
            await stream.stop()
            assert not running(mark)
        never_begun = box.exec_stream("true")
        await never_begun.stop()
        with pytest.raises(SandboxStateError):
            _ = await collect(never_begun)


async def test_many_small_lines(live: Live) -> None:
    async with live.box(template="base-python") as box:
        program = "import os\nfor i in range(100000): os.write(1, b'%d\\n' % i)"
        events = await collect(box.exec_stream(["python3", "-c", program]))
        assert stdout(events) == b"".join(b"%d\n" % i for i in range(100_000))
        assert events[-1] == StreamExitEvent(0)


async def test_characters_are_never_broken(live: Live) -> None:
    text = "aé漢🙂" * 500
    program = f"import os\nfor byte in {text!r}.encode(): os.write(1, bytes([byte]))"
    async with live.box(template="base-python") as box:
        events = await collect(box.exec_stream(["python3", "-c", program]))
        pieces = [event.data for event in events if isinstance(event, StreamStdoutEvent)]
        assert "".join(pieces) == text
        assert not any("\ufffd" in piece for piece in pieces)


async def test_bytes_are_exact(live: Live) -> None:
    raw = bytes(range(256)) * 1000 + b"\xf0\x9f"
    async with live.box() as box:
        await box.upload("raw", raw)
        assert stdout(await collect(box.exec_stream(["cat", "raw"]))) == raw


async def test_a_client_that_disconnects(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        async with live.client() as other:
            stream = (await other.sandboxes.get(box.id)).exec_stream(["sleep", mark])
            assert isinstance(await anext(aiter(stream)), StreamStartEvent)
            await eventually(lambda: running(mark))
            target = getattr(stream, "target", stream)
            await other.aclose()
            with pytest.raises(SandlotError) as caught:
                _ = await collect(stream)
            assert caught.value.outcome == "unknown"
            assert target.pid is not None
        await eventually(lambda: not running(mark))
        assert (await box.exec("true")).ok


async def test_connections_that_break_lose_nothing(live: Live) -> None:
    line = "read go; i=0; while [ $i -lt 3000 ]; do echo $i; echo $i >&2; i=$((i+1)); done; cat"
    typed = bytes(range(256)) * 4096
    async with live.box() as box, box.exec_stream(line) as stream:
        target = getattr(stream, "target", stream)
        assert isinstance(await anext(aiter(stream)), StreamStartEvent)
        await stream.write_stdin("go\n")
        events: list[Any] = []
        async for event in stream:
            events.append(event)
            if len(events) in (1, 3, 7):
                target._line._socket.abort()
            if stdout(events).endswith(b"2999\n"):
                break
        target._line._socket.abort()
        reading = asyncio.ensure_future(collect(stream))
        await stream.write_stdin(typed)
        target._line._socket.abort()
        await stream.close_stdin()
        events += await reading
        wanted = b"".join(b"%d\n" % number for number in range(3000))
        assert stdout(events) == wanted + typed
        errors = (e.data_bytes for e in events if isinstance(e, StreamStderrEvent))
        assert b"".join(errors) == wanted
        assert [e for e in events if isinstance(e, StreamStartEvent)] == []
        assert events[-1] == StreamExitEvent(0)


async def test_refusals_come_before_anything_runs(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        other = await client.sandboxes.create()
        await client.sandboxes.destroy(other.id)
        with pytest.raises(SandlotError) as caught:
            _ = await collect(other.exec_stream("true"))
        assert caught.value.outcome == "not_started"
        _ = await box.pause()
        with pytest.raises(SandlotError) as caught:
            _ = await collect(box.exec_stream("true"))
        assert caught.value.outcome == "not_started"
        _ = await box.resume()
        with pytest.raises(SandlotError) as caught:
            _ = await box.exec("true", user="nobody-has-this-name", on_stdout=print)
        assert caught.value.outcome == "not_started"
        assert not isinstance(caught.value, NotFoundError)


async def test_programs_that_cannot_be_run(live: Live) -> None:
    async with live.box() as box:
        events = await collect(box.exec_stream(["no-such-program"]))
        assert events[-1] == StreamExitEvent(127)
        assert any(isinstance(event, StreamStderrEvent) for event in events)


async def test_destroying_the_sandbox_ends_its_streams(live: Live) -> None:
    async with live.box() as box, box.exec_stream("echo kept; sleep 600") as stream:
        assert await until_output(stream) == "kept\n"
        waiting = asyncio.ensure_future(awaited(stream.wait()))
        await box.destroy()
        with pytest.raises(SandlotError) as caught:
            _ = await waiting
        assert caught.value.outcome == "unknown"
