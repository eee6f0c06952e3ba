"""Code whose surroundings go wrong: connections, sandboxes and servers that end meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    AuthenticationError,
    CodeLostError,
    ConflictError,
    KernelDiedError,
    SandboxDestroyedError,
    SandlotError,
)
from tests.colours import Colour
from tests.live.coding import Coding, Relay, started
from tests.live.test_server_death import own
from tests.live.world import Live, eventually

COUNTING = """
import pathlib
ran = pathlib.Path('/tmp/ran')
ran.write_text(ran.read_text() + 'x' if ran.exists() else 'x')
print('on', flush=True)
path = pathlib.Path('/tmp/go')
import time
while not path.exists(): time.sleep(0.01)
path.unlink()
print('off')
'value'
"""


async def test_a_lost_connection_is_replaced(coding: Coding) -> None:
    """The code runs once, and nothing of what it does is missed."""
    with Relay(coding.server.port).running() as relay:
        async with (
            coding.own_context() as helper,
            coding.box() as here,
            coding.box(base_url=relay.url) as box,
        ):
            context = await box.code.get_context(helper.id)
            _ = await here.exec(["rm", "-f", "/tmp/ran", "/tmp/go"])
            task = await started(context, COUNTING)
            relay.cut()
            _ = await here.exec(["touch", "/tmp/go"], check=True)
            done = await task
            assert (done.stdout, done.text) == ("on\noff\n", "'value'")
            assert (await here.download("/tmp/ran")) == b"x"
            relay.cut()
            assert (await context.run_code("2")).text == "2"


async def test_output_while_nobody_is_connected(coding: Coding) -> None:
    with Relay(coding.server.port).running() as relay:
        async with (
            coding.own_context() as helper,
            coding.box() as here,
            coding.box(base_url=relay.url) as box,
        ):
            context = await box.code.get_context(helper.id)
            _ = await here.exec(["rm", "-f", "/tmp/ran", "/tmp/go"])
            task = await started(context, COUNTING)
            with relay.broken():
                _ = await here.exec(["touch", "/tmp/go"], check=True)
                await eventually(lambda: is_idle(here, helper.id))
            done = await task
            assert (done.stdout, done.text) == ("on\noff\n", "'value'")
            assert (await here.download("/tmp/ran")) == b"x"


async def is_idle(box: Any, context_id: str) -> bool:
    return (await box.code.get_context(context_id)).state == "idle"


async def test_no_connection_any_more(coding: Coding, monkeypatch: Any) -> None:
    monkeypatch.setattr("sandlot.sandbox.cells.PATIENCE", 0.5)
    with Relay(coding.server.port).running() as relay:
        async with coding.own_context() as helper, coding.box(base_url=relay.url) as box:
            context = await box.code.get_context(helper.id)
            task = await started(context, "print('on', flush=True)\nimport time\ntime.sleep(5)")
            with relay.broken():
                with pytest.raises(CodeLostError, match="could not be followed") as caught:
                    _ = await task
                assert caught.value.execution.stdout == "on\n"
                assert caught.value.outcome == "unknown"
            await helper.interrupt()


async def test_the_sandbox_is_destroyed(live: Live) -> None:
    async with live.box(template="python-jupyter") as box:
        task = await started(box, "print('on', flush=True)\nimport time\ntime.sleep(60)")
        await box.destroy()
        with pytest.raises((CodeLostError, KernelDiedError)) as caught:
            _ = await task
        assert caught.value.execution.stdout == "on\n"
        with pytest.raises(SandboxDestroyedError):
            _ = await box.run_code("1")


async def test_somebody_else_destroys_the_sandbox(live: Live) -> None:
    async with live.box(template="python-jupyter") as box, live.client() as other:
        task = await started(box, "print('on', flush=True)\nimport time\ntime.sleep(60)")
        began = time.monotonic()
        await other.sandboxes.destroy(box.id)
        with pytest.raises(CodeLostError) as caught:
            _ = await task
        assert time.monotonic() - began < 10
        assert caught.value.execution.stdout == "on\n"
        with pytest.raises(SandlotError):
            _ = await box.run_code("1")


async def test_the_sandbox_is_paused_meanwhile(coding: Coding) -> None:
    async with coding.own_context() as context, coding.box() as there:
        task = await started(
            context, "print('on', flush=True)\nimport time\ntime.sleep(1)\n'end'", timeout=60
        )
        _ = await there.pause()
        done, _pending = await asyncio.wait([task], timeout=2)
        assert not done
        _ = await there.resume()
        assert (await task).text == "'end'"


async def test_the_time_is_up_in_a_paused_sandbox(coding: Coding) -> None:
    async with coding.own_context() as context, coding.box() as there:
        code = "print('on', flush=True)\nimport time\ntime.sleep(60)"
        task = await started(context, code, timeout=1)
        _ = await there.pause()
        try:
            with pytest.raises(CodeLostError, match="paused") as caught:
                _ = await task
            assert caught.value.outcome == "unknown"
            assert caught.value.execution.stdout == "on\n"
            with pytest.raises(ConflictError, match="paused"):
                _ = await context.run_code("1")
        finally:
            _ = await there.resume()


async def test_running_code_counts_as_activity(live: Live, monkeypatch: Any) -> None:
    monkeypatch.setattr("sandlot.sandbox._cell._CHECK", 0.5)
    async with live.box(template="python-jupyter", timeout_sec=2) as box:
        done = await box.run_code("import time\ntime.sleep(4)\n'end'", timeout=30)
        assert done.text == "'end'"
        await eventually(lambda: is_paused(box))


async def is_paused(box: Any) -> bool:
    return (await box.refresh()).status == "paused"


async def test_jupyter_is_killed(live: Live) -> None:
    async with live.box(template="python-jupyter") as box:
        task = await started(box, "print('on', flush=True)\nimport time\ntime.sleep(60)")
        _ = await box.exec("kill -9 -1", check=False)
        with pytest.raises((KernelDiedError, CodeLostError)) as caught:
            _ = await task
        assert caught.value.execution.stdout == "on\n"
        after = await box.run_code("1 + 1")
        assert (after.text, after.fresh_kernel) == ("2", True)


async def test_the_server_is_killed(colour: Colour, tmp_path: Path) -> None:
    async with own(colour, tmp_path / "data") as life:
        box = await life.client.sandboxes.create("python-jupyter")
        task = await started(box, "print('on', flush=True)\nimport time\ntime.sleep(60)")
        life.kill()
        with pytest.raises(CodeLostError, match="embedded server was killed by SIGKILL") as caught:
            _ = await task
        assert caught.value.execution.stdout == "on\n"
        assert caught.value.outcome == "unknown"
        await life.is_gone()


async def test_tokens_open_no_ports(coding: Coding) -> None:
    async with coding.colour.client(token="t", base_url=coding.server.base_url) as client:
        box = type_of(client, coding)
        for call in (lambda: box.get_url(8888), lambda: box.proxy(8888)):
            with pytest.raises(AuthenticationError, match="API key"):
                _ = await maybe(call())
        with pytest.raises(AuthenticationError, match="API key"):
            _ = await box.run_code("1")


def type_of(client: Any, coding: Coding) -> Any:
    """Return the sandbox without asking for it, which a made-up token could not."""
    from sandlot.models import SandboxInfo
    from sandlot.sandbox.sandbox import AsyncSandbox, Sandbox
    from tests.colours import Twin
    from tests.operations.conftest import INFO

    info = SandboxInfo.model_validate({**INFO, "id": coding.sandbox_id})
    if isinstance(client, Twin):
        return Twin(Sandbox(client.target._transport, info))
    return AsyncSandbox(client._transport, info)


async def maybe(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value
