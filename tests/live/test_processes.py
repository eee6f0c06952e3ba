"""Processes that run in the background, in both colours."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot import (
    CommandError,
    CommandTimeoutError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    StreamExitEvent,
    StreamGapEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)
from tests.live.world import Live, eventually, marker, running


def stdout(events: list[Any]) -> bytes:
    return b"".join(e.data_bytes for e in events if isinstance(e, StreamStdoutEvent))


async def test_started_by_one_client_and_found_by_another(live: Live) -> None:
    line = "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo $A; exit 3"
    async with live.client() as client:
        box = await client.sandboxes.create()
        process = await box.spawn(line, env={"A": "b"}, tag="job")
        assert process.tag == "job"
        async with process.stream() as stream:
            async for event in stream:
                if isinstance(event, StreamStdoutEvent):
                    break
    async with live.client() as client:
        box = await client.sandboxes.get(box.id)
        found = await box.processes.get("job")
        assert (found.pid, found.info.kind) == (process.pid, "background")
        assert [each.tag for each in await box.processes.list()] == ["job"]
        with pytest.raises(CommandTimeoutError):
            await found.wait(0.1)
        with pytest.raises(ConflictError):
            await box.spawn(["true"], tag="job")
        await box.upload("go", b"")
        pieces: list[str] = []
        result = await found.wait(on_stdout=pieces.append)
        assert (result.exit_code, result.stdout) == (3, "begun\nb\n")
        assert "".join(pieces) == "begun\nb\n"
        assert not result.truncated
        # It has ended, and still can be asked.
        assert await box.processes.list() == []
        (ended,) = await box.processes.list(ended=True)
        assert ended.info.exit_code == 3
        events = [event async for event in ended.stream()]
        assert isinstance(events[0], StreamStartEvent)
        assert events[-1] == StreamExitEvent(3)
        with pytest.raises(NotFoundError):
            await found.kill()
        for wrong in ("12", "", "a b", 0, -1, True, None):
            with pytest.raises(InvalidArgumentError):
                await box.processes.kill(wrong)
        with pytest.raises(NotFoundError):
            await box.processes.get("nothing")
        await box.destroy()


async def test_following_from_now_on(live: Live) -> None:
    line = (
        "echo past; echo past >&2; while [ ! -e go ]; do sleep 0.02; done; echo now; echo now >&2;"
        " yes 123456789 | head -c 3000000"
    )
    async with live.box() as box:
        process = await box.spawn(line)
        async with process.stream() as stream:
            async for event in stream:
                if isinstance(event, StreamStderrEvent):
                    break
        async with process.stream(past=False) as stream:
            assert await anext(aiter(stream)) == StreamStartEvent(process.pid)
            await box.upload("go", b"")
            events = [event async for event in stream]
        missing = sum(event.missing for event in events if isinstance(event, StreamGapEvent))
        assert missing + len(stdout(events)) == len("now\n") + 3_000_000
        assert [e.data for e in events if isinstance(e, StreamStderrEvent)] == ["now\n"]
        assert events[-1] == StreamExitEvent(0)
        async with process.stream(past=False) as stream:
            assert [event async for event in stream] == [
                StreamStartEvent(process.pid),
                StreamExitEvent(0),
            ]


async def test_signals_floods_and_the_end_of_the_sandbox(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        process = await box.spawn(["sh", "-c", f"setsid sleep {mark} & sleep {mark}"])
        await eventually(lambda: len(running(f"sleep\0{mark}")) == 2)
        await process.kill()
        assert running(f"sleep\0{mark}") == []
        assert (await process.wait()).signal == "SIGKILL"
        process = await box.spawn("trap 'exit 7' TERM; echo on; while :; do sleep 0.02; done")
        async for event in process.stream():
            if isinstance(event, StreamStdoutEvent):
                await box.processes.kill(process.pid, "term")
        assert (await process.wait()).exit_code == 7
        flood = await box.spawn("yes 123456789 | head -c 3000000")
        await eventually(ended(box, flood))
        events = [event async for event in flood.stream()]
        (gap,) = [event for event in events if isinstance(event, StreamGapEvent)]
        assert gap.stream == "stdout"
        assert gap.missing + len(stdout(events)) == 3_000_000
        result = await flood.wait()
        assert (result.truncated, result.exit_code) == (True, 0)
        last = await box.spawn(["sleep", mark])
        async with last.stream() as stream:
            assert isinstance(await anext(aiter(stream)), StreamStartEvent)
            await box.destroy()
            with pytest.raises(CommandError):
                await stream.wait()
        assert running(mark) == []


def ended(box: Any, process: Any) -> Any:
    async def look() -> bool:
        return process.pid not in [each.pid for each in await box.processes.list()]

    return look
