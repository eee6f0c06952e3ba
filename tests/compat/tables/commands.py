"""Commands."""

from __future__ import annotations

import os
from typing import Any

import pytest

from sandlot import (
    AgentError,
    CommandError,
    CommandFailedError,
    CommandTimeoutError,
    ConflictError,
    NotFoundError,
    StreamClosedError,
    UnsupportedError,
)
from sandlot.events import StreamExitEvent, StreamStartEvent, StreamStdoutEvent
from tests.compat.double import ids
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def run(tenant: Tenant) -> None:
    box = await tenant.box()
    result = await box.exec("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert (await box.exec(["printf", "%s", "<&> ä\u2028"])).stdout == "<&> ä\u2028"
    # original server: 2.8, both are base64 if one is not UTF-8.
    result = await box.exec(r"printf '\377\0'; echo err >&2")
    assert (result.stdout_bytes, result.stderr, result.encoding) == (b"\xff\0", "err\n", "base64")


async def run_with_additions(tenant: Tenant) -> None:
    # original server: 2.8, knows neither; both are put into the command.
    box = await tenant.box()
    result = await box.exec("pwd; echo $A", cwd="/", env={"A": "it's"})
    assert result.stdout == "/\nit's\n"
    result = await box.exec(["printenv", "A"], env={"A": "b c"}, timeout_sec=1.5)
    assert result.stdout == "b c\n"


async def run_what_cannot_be(tenant: Tenant) -> None:
    box = await tenant.box()
    result = await box.exec(["no-such-program"])
    assert (result.exit_code, "no-such-program" in result.stderr) == (127, True)
    assert (await box.exec(["/"])).exit_code == 126
    result = await box.exec(["sh", "-c", "kill -9 $$"])
    assert (result.exit_code, result.signal) == (-1, None)


async def streamed(tenant: Tenant) -> None:
    box = await tenant.box()
    events = [event async for event in box.exec_stream("printf out; printf err >&2; exit 3")]
    assert isinstance(events[0], StreamStartEvent)
    assert sorted(type(event).__name__ for event in events[1:-1]) == [
        "StreamStderrEvent",
        "StreamStdoutEvent",
    ]
    # Dropped, without a closing handshake; nobody has to know.
    assert events[-1] == StreamExitEvent(3)
    quick = [event async for event in box.exec_stream(["true"], cwd="/", env={"A": "b"})]
    assert quick[-1] == StreamExitEvent(0)


async def waited_for(tenant: Tenant) -> None:
    box = await tenant.box()
    async with box.exec_stream("echo $A; pwd", cwd="/", env={"A": "b"}) as stream:
        await stream.close_stdin()
        result = await stream.wait()
    assert (result.stdout, result.exit_code) == ("b\n/\n", 0)


async def streamed_lossily(tenant: Tenant) -> None:
    # original server: 3.1, a character that two pieces share, and what is no UTF-8, are lost.
    box = await tenant.box()
    text = "ä" * 20_000
    events = box.exec_stream(["printf", "x" + text + "%b", r"\0377"])
    out = "".join([each.data async for each in events if isinstance(each, StreamStdoutEvent)])
    assert out.count("ä") >= 19_990
    assert out.endswith("\ufffd")


async def stopped(tenant: Tenant) -> None:
    # original server: 3.1, `stop` is not obeyed: the process goes on, and no `exit` comes.
    box = await tenant.box()
    stream = box.exec_stream("echo on; sleep 1000")
    async with stream:
        async for event in stream:
            if isinstance(event, StreamStartEvent):
                pid = event.pid
            if isinstance(event, StreamStdoutEvent):
                break
        await stream.stop()
    os.kill(pid, 0)


async def in_time(tenant: Tenant) -> None:
    await (await tenant.box()).exec("sleep 100", timeout_sec=1)


async def checked(tenant: Tenant) -> None:
    await (await tenant.box()).exec("exit 3", check=True)


async def paused(tenant: Tenant, *, stream: bool) -> None:
    box = await tenant.box()
    _ = await box.pause()
    if stream:
        async for _ in box.exec_stream("true"):
            raise AssertionError
    _ = await box.exec("true")


async def streamed_nowhere(tenant: Tenant) -> None:
    box = await tenant.box()
    tenant.capsule(box).id = ids.new("cl")
    async for _ in box.exec_stream("true"):
        raise AssertionError


async def frozen(tenant: Tenant) -> None:
    box = await tenant.box()
    tenant.capsule(box).is_frozen_by_agent = True
    _ = await box.exec("true")


async def streamed_without_a_host(tenant: Tenant) -> None:
    box = await tenant.box()
    tenant.capsule(box).has_host = False
    async with box.exec_stream("true") as stream:
        _ = await stream.wait()


async def lost(tenant: Tenant) -> None:
    # original server: 3.1, pausing ends streams with neither `exit` nor `error`.
    box = await tenant.box()
    stream = box.exec_stream("echo on; sleep 1000")

    async def follow() -> None:
        async for event in stream:
            if isinstance(event, StreamStdoutEvent):
                _ = await box.pause()

    async with stream:
        with pytest.raises(StreamClosedError) as caught:
            await follow()
    assert (caught.value.stdout, caught.value.outcome) == ("on\n", "unknown")


def _unsupported(what: str, method: str = "exec", **options: Any) -> Fails:
    async def play(tenant: Tenant) -> None:
        box = await tenant.box()
        before = len(tenant.world.processes)
        try:
            if method == "exec":
                _ = await box.exec("true", **options)
            else:
                async for _ in box.exec_stream("true", **options):
                    raise AssertionError
        finally:
            assert len(tenant.world.processes) == before

    return Fails(f"sandbox.{method}", what, play, UnsupportedError)


async def told(tenant: Tenant, method: str, *args: Any) -> None:
    box = await tenant.box()
    async with box.exec_stream("sleep 1000") as stream:
        await getattr(stream, method)(*args)


async def spawned(tenant: Tenant) -> None:
    _ = await (await tenant.box()).spawn("true")


async def looked_for(tenant: Tenant) -> None:
    _ = await (await tenant.box()).processes.list()


async def at_a_terminal(tenant: Tenant) -> None:
    async with (await tenant.box()).pty():
        pass


async def back_at_a_terminal(tenant: Tenant) -> None:
    async with (await tenant.box()).connect_pty("mine"):
        pass


ROWS: list[Row] = [
    Works("sandbox.exec", run),
    Works("sandbox.exec", run_with_additions),
    Works("sandbox.exec", run_what_cannot_be),
    Works("sandbox.exec_stream", streamed),
    Works("sandbox.exec_stream", streamed_lossily),
    Works("stream.wait stream.close_stdin", waited_for),
    Works("stream.stop", stopped),
    Fails("sandbox.exec", "it takes too long", in_time, CommandTimeoutError),
    Fails("sandbox.exec", "it fails", checked, CommandFailedError),
    Fails("sandbox.exec", "paused", lambda t: paused(t, stream=False), ConflictError),
    Fails("sandbox.exec_stream", "paused", lambda t: paused(t, stream=True), ConflictError),
    Fails("sandbox.exec_stream", "nowhere", streamed_nowhere, NotFoundError, "not_found"),
    Fails("sandbox.exec", "frozen", frozen, AgentError, "agent_error"),
    Fails("sandbox.exec_stream", "no host", streamed_without_a_host, CommandError),
    Works("sandbox.exec_stream", lost),
    _unsupported("stdin", stdin="x"),
    _unsupported("user", user="user"),
    _unsupported("max_output_bytes", max_output_bytes=1),
    _unsupported("callbacks", on_stdout=print),
    _unsupported("stdin", "exec_stream", stdin="x"),
    _unsupported("user", "exec_stream", user="user"),
    _unsupported("timeout_sec", "exec_stream", timeout_sec=5),
    Fails(
        "stream.write_stdin", "it has none", lambda t: told(t, "write_stdin", "x"), UnsupportedError
    ),
    Fails("stream.signal", "there are none", lambda t: told(t, "signal", "INT"), UnsupportedError),
    Fails("stream.kill", "there is none", lambda t: told(t, "kill"), UnsupportedError),
    Fails(
        "sandbox.spawn", "there are no background processes", spawned, UnsupportedError, sends=False
    ),
    Fails("sandbox.processes", "there are none", looked_for, UnsupportedError, sends=False),
    Fails("sandbox.pty", "there are no terminals", at_a_terminal, UnsupportedError, sends=False),
    Fails(
        "sandbox.connect_pty", "there are none", back_at_a_terminal, UnsupportedError, sends=False
    ),
]
