"""Code in kernels: what comes of it, what it leaves behind, what goes wrong in it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from sandlot import (
    Client,
    CodeClearEvent,
    CodeEndEvent,
    CodeErrorEvent,
    CodeFailedError,
    CodeResultEvent,
    CodeStderrEvent,
    CodeStdoutEvent,
    CodeTimeoutError,
    ContextNotFoundError,
    InvalidArgumentError,
    KernelDiedError,
    UnsupportedError,
)
from tests.live.coding import Coding, started, until_event
from tests.live.world import Live, eventually

ENDING = "import os, time\ntime.sleep(0.5)  # what was printed is on its way still\nos._exit(3)"


async def test_value_output_and_count(coding: Coding) -> None:
    async with coding.context() as context:
        code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint('more')\n6 * 7"
        done = await context.run_code(code)
        assert (done.text, done.stdout, done.stderr) == ("42", "out\nmore\n", "err\n")
        assert done.ok
        assert not done.fresh_kernel
        again = await context.run_code("x = 1")
        assert again.execution_count == done.execution_count + 1
        assert again.text is None
        assert again.result is None
        assert [type(output).__name__ for output in done.outputs][-1] == "Result"


async def test_state_stays(coding: Coding) -> None:
    async with coding.box() as box:
        _ = await box.run_code("def f(x): return x + 1\ny = 5")
        assert (await box.run_code("f(y)")).text == "6"
        assert (await box.run_code("import os; os.getcwd()")).text == "'/home/user'"
        rejoined = await box.code.get_context(box.code.context().id)
        assert (await rejoined.run_code("y")).text == "5"
        assert (await box.run_code("y", context=rejoined.id)).text == "5"
        await rejoined.close()


async def test_a_syntax_error(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code("a b")
        assert not done.ok
        assert done.error.name == "SyntaxError"
        with pytest.raises(CodeFailedError, match="SyntaxError") as caught:
            done.check()
        assert caught.value.execution is done
        assert caught.value.outcome == "finished"


async def test_an_exception_with_a_cause(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code(
            "print('before')\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n"
            "    raise KeyError('k') from e"
        )
        assert (done.error.name, done.stdout) == ("KeyError", "before\n")
        assert "direct cause" in done.error.traceback
        assert "ZeroDivisionError" in done.error.traceback
        assert "\x1b[" in done.error.traceback_ansi
        assert "\x1b" not in done.error.traceback


async def test_an_endless_loop(coding: Coding) -> None:
    async with coding.own_context() as context:
        _ = await context.run_code("kept = 7")
        began = time.monotonic()
        done = await context.run_code("print('in')\nwhile True: pass", timeout=0.5)
        assert time.monotonic() - began < 15
        assert (done.timed_out, done.interrupted, done.state_lost) == (True, True, False)
        assert done.stdout == "in\n"
        assert done.error.name == "KeyboardInterrupt"
        assert 400 < done.duration_ms < 15_000
        with pytest.raises(CodeTimeoutError, match="state of its context is kept"):
            done.check()
        assert (await context.run_code("kept")).text == "7"


async def test_code_that_ignores_interrupts(coding: Coding, monkeypatch: Any) -> None:
    monkeypatch.setattr("sandlot.sandbox._cell.GRACE", 0.5)
    code = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\nwhile True: time.sleep(1)"
    )
    async with coding.own_context() as context:
        _ = await context.run_code("lost = 7")
        done = await context.run_code(code, timeout=0.5)
        assert (done.timed_out, done.state_lost) == (True, True)
        assert done.stdout == "deaf\n"
        with pytest.raises(CodeTimeoutError, match="is lost"):
            done.check()
        after = await context.run_code("'lost' in globals()")
        assert (after.text, after.fresh_kernel) == ("False", True)
        assert not (await context.run_code("1")).fresh_kernel


async def test_endless_output(coding: Coding) -> None:
    async with coding.own_context() as context:
        done = await context.run_code(
            "while True: print('x' * 1000)", timeout=1.5, max_output_bytes=100_000
        )
        assert (done.timed_out, done.truncated) == (True, True)
        assert len(done.stdout) <= 100_000
        assert done.stdout.startswith("xxx")
        assert (await context.run_code("1")).text == "1"


async def test_many_small_prints(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code("for i in range(100_000): print(i)", timeout=60)
        assert done.stdout == "".join(f"{i}\n" for i in range(100_000))
        assert not done.truncated


async def test_a_huge_value(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code("'x' * 5_000_000")
        assert len(done.text) == 5_000_002 or done.truncated
        assert (await context.run_code("1")).text == "1"


async def test_output_that_is_not_utf8(coding: Coding) -> None:
    async with coding.context() as context:
        # A thread of the kernel's fetches what does not go through Python: it takes a moment.
        code = "import os, time\n_ = os.write(1, b'a\\xff\\xc3b')\ntime.sleep(1)"
        done = await context.run_code(code)
        assert done.ok
        assert done.stdout == "a\ufffd\ufffdb"


@pytest.mark.parametrize("code", [b"1", None, 3, "\ud800"])
async def test_what_is_no_code(coding: Coding, code: Any) -> None:
    async with coding.context() as context:
        with pytest.raises(InvalidArgumentError, match="code"):
            _ = await context.run_code(code)


@pytest.mark.parametrize("code", ["", "  \n", "# only a comment"])
async def test_no_code_at_all(coding: Coding, code: str) -> None:
    async with coding.context() as context:
        done = await context.run_code(code)
        assert (done.ok, done.text, done.outputs) == (True, None, ())


async def test_input_raises_in_the_cell(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code("input('name? ')", timeout=20)
        assert done.error.name == "StdinNotImplementedError"


async def test_a_kernel_that_ends_itself(coding: Coding) -> None:
    async with coding.own_context() as context:
        with pytest.raises(KernelDiedError, match="died while the code ran") as caught:
            _ = await context.run_code("print('last', flush=True)\n" + ENDING)
        assert caught.value.execution.stdout == "last\n"
        after = await context.run_code("1 + 1")
        assert (after.text, after.fresh_kernel) == ("2", True)
        assert not (await context.run_code("1 + 1")).fresh_kernel


async def test_a_kernel_without_memory(coding: Coding) -> None:
    async with coding.own_context() as context:
        _ = await context.run_code("1")
        with pytest.raises(KernelDiedError):
            _ = await context.run_code("b = bytearray(3_000_000_000)\nb[::4096] = b[::4096]")
        assert (await context.run_code("2")).fresh_kernel


async def test_a_kernel_that_dies_between_two_calls(coding: Coding) -> None:
    async with coding.own_context() as context:
        pid = (await context.run_code("import os; os.getpid()")).text
        async with coding.box() as box:
            _ = await box.exec(f"kill -9 {pid}", check=True)
            await eventually(lambda: gone(box, pid))
        await asyncio.sleep(0)
        try:
            after = await context.run_code("1")
        except KernelDiedError:  # the news of its death came only now
            after = await context.run_code("1")
        assert after.fresh_kernel


async def gone(box: Any, pid: str) -> bool:
    return not (await box.exec(f"kill -0 {pid}")).ok


async def test_a_fork_in_a_cell(coding: Coding) -> None:
    async with coding.own_context() as context:
        done = await context.run_code(
            "import os\npid = os.fork()\nif pid == 0:\n    os._exit(4)\n"
            "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
        )
        assert done.text == "4"
        assert (await context.run_code("import subprocess\nsubprocess.run(['true']).returncode")).ok


async def test_a_thread_that_prints_later(coding: Coding) -> None:
    async with coding.own_context() as context, coding.box() as box:
        done = await context.run_code(
            "import pathlib, threading\ndef late(path):\n    while not path.exists(): pass\n"
            "    print('late', flush=True)\n    path.unlink()\n"
            "path = pathlib.Path(f'/tmp/{id(late)}')\n"
            "threading.Thread(target=late, args=[path]).start()\nprint(path)"
        )
        path = done.stdout.strip()
        _ = await box.exec(["touch", path], check=True)
        await eventually(lambda: unlinked(box, path))
        after = await context.run_code("print('own')")
        if after.stdout == "own\n":
            assert "".join(piece.text for piece in after.late_output) == "late\n"
        else:  # newer kernels count what a thread prints meanwhile as the running cell's
            assert after.stdout == "late\nown\n"


async def unlinked(box: Any, path: str) -> bool:
    return not (await box.exec(["test", "-e", path])).ok


async def test_events(coding: Coding) -> None:
    async with coding.box() as box:
        stream = box.run_code_stream(
            "import sys\nfrom IPython.display import clear_output\nprint('a', flush=True)\n"
            "print('b', file=sys.stderr, flush=True)\nclear_output()\n'v'"
        )
        events = [event async for event in stream]
        assert [type(event) for event in events] == [
            CodeStdoutEvent,
            CodeStderrEvent,
            CodeClearEvent,
            CodeResultEvent,
            CodeEndEvent,
        ]
        assert events[-1].execution.text == "'v'"
        assert events[-1].execution.stdout == ""
        assert [event async for event in stream] == []
        events = [event async for event in box.run_code_stream("1/0")]
        assert [type(event) for event in events] == [CodeErrorEvent, CodeEndEvent]
        await box.code.context().close()


async def test_leaving_a_stream_interrupts(coding: Coding) -> None:
    async with coding.own_context() as context:
        began = time.monotonic()
        async with context.run_code_stream("print('go')\nimport time\ntime.sleep(60)") as stream:
            assert (await until_event(stream, CodeStdoutEvent)).text == "go\n"
        assert time.monotonic() - began < 10
        assert (await context.run_code("1")).text == "1"


async def test_callbacks(coding: Coding) -> None:
    async with coding.context() as context:
        told: list[Any] = []
        _ = await context.run_code(
            "import sys\nprint('o')\nprint('e', file=sys.stderr)\ndisplay('d')\n1/0",
            on_stdout=lambda text: told.append(("stdout", text)),
            on_stderr=lambda text: told.append(("stderr", text)),
            on_result=lambda result: told.append(("result", result.text)),
            on_error=lambda error: told.append(("error", error.name)),
        )
        assert sorted(told) == [
            ("error", "ZeroDivisionError"),
            ("result", "'d'"),
            ("stderr", "e\n"),
            ("stdout", "o\n"),
        ]


async def test_a_callback_that_raises(coding: Coding) -> None:
    def fail(_: str) -> None:
        raise LookupError("mine")

    async with coding.own_context() as context:
        began = time.monotonic()
        with pytest.raises(LookupError, match="mine"):
            _ = await context.run_code("print('x')\nimport time\ntime.sleep(60)", on_stdout=fail)
        assert time.monotonic() - began < 10
        assert (await context.run_code("1")).text == "1"


async def test_calls_in_one_context_queue(coding: Coding) -> None:
    async with coding.context() as context:
        _ = await context.run_code("import time\nseen = []")
        code = "seen.append({0}); time.sleep(0.05); seen.append({0}); {0}"
        done = await asyncio.gather(*(context.run_code(code.format(i)) for i in range(8)))
        assert [each.text for each in done] == [str(i) for i in range(8)]
        seen = eval((await context.run_code("seen")).text)
        assert seen[::2] == seen[1::2]
        assert sorted(seen[::2]) == list(range(8))


async def test_several_contexts_run_at_once(coding: Coding) -> None:
    async with coding.own_context() as one, coding.context() as other:
        _ = await one.run_code("import time")
        task = await started(one, "print('on', flush=True)\ntime.sleep(2)\n'one'")
        assert (await other.run_code("'other'")).text == "'other'"
        assert not task.done()
        assert (await task).text == "'one'"


async def test_two_clients_on_one_context(coding: Coding) -> None:
    async with coding.context() as one, coding.context() as other:
        assert one.id == other.id
        first, second = await asyncio.gather(
            one.run_code("shared = 1\nprint('one')\n'1'"), other.run_code("print('other')\n'2'")
        )
        assert (first.stdout, first.text) == ("one\n", "'1'")
        assert (second.stdout, second.text) == ("other\n", "'2'")
        assert (await other.run_code("shared")).text == "1"


async def test_no_turn_in_time(coding: Coding) -> None:
    async with coding.own_context() as context, coding.box() as box:
        other = await box.code.get_context(context.id)
        task = await started(context, "print('on', flush=True)\nimport time\ntime.sleep(3)")
        with pytest.raises(CodeTimeoutError, match="Nothing was sent") as caught:
            _ = await context.run_code("1", timeout=0.2)
        assert caught.value.outcome == "not_started"
        with pytest.raises(CodeTimeoutError, match="may still run later") as caught:
            _ = await other.run_code("1", timeout=0.2)
        assert caught.value.outcome == "unknown"
        assert (await task).ok


async def test_interrupting(coding: Coding) -> None:
    async with coding.own_context() as context:
        task = await started(context, "print('on', flush=True)\nimport time\ntime.sleep(60)")
        await context.interrupt()
        done = await task
        assert (done.interrupted, done.timed_out) == (True, False)
        with pytest.raises(CodeFailedError):
            done.check()


async def test_restarting(coding: Coding) -> None:
    async with coding.own_context(env={"COLOUR": "blue"}, cwd="/tmp") as context:
        look = "import os; (os.environ['COLOUR'], os.getcwd(), 'x' in globals())"
        _ = await context.run_code("x = 1")
        assert (await context.run_code(look)).text == "('blue', '/tmp', True)"
        await context.restart()
        after = await context.run_code(look)
        assert after.text == "('blue', '/tmp', False)"
        assert after.fresh_kernel


async def test_contexts_come_and_go(coding: Coding) -> None:
    async with coding.box() as box:
        context = await box.code.create_context()
        assert context.id in [each.id for each in await box.code.list()]
        assert context.language == "python"
        await context.close()
        await context.close()
        assert context.id not in [each.id for each in await box.code.list()]
        with pytest.raises(ContextNotFoundError):
            _ = await box.code.get_context(context.id)
        for bad in ("../status", "", "a b"):
            with pytest.raises(InvalidArgumentError):
                _ = await box.code.get_context(bad)


async def test_a_directory_that_is_not_there(coding: Coding) -> None:
    async with coding.box() as box:
        before = len(await box.code.list())
        with pytest.raises(InvalidArgumentError, match="/nowhere"):
            _ = await box.code.create_context(cwd="/nowhere")
        assert len(await box.code.list()) == before


async def test_bash(coding: Coding) -> None:
    async with coding.own_context("bash", env={"A": "it's"}, cwd="/tmp") as context:
        done = await context.run_code("x=5; echo $A; pwd")
        assert done.stdout.splitlines() == ["it's", "/tmp"]
        assert (await context.run_code("echo $x")).stdout == "5\n"
        failed = await context.run_code("false")
        assert not failed.ok
        with pytest.raises(UnsupportedError, match="python"):
            _ = await context.variables()
        slow = await context.run_code("sleep 60", timeout=1)
        assert slow.timed_out


async def test_languages(coding: Coding) -> None:
    async with coding.box() as box:
        assert {"bash", "python"} <= set(await box.code.languages())
        with pytest.raises(InvalidArgumentError, match="'cobol'; there is bash"):
            _ = await box.run_code("1", "cobol")


async def test_shell_in_a_python_cell(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code("%%bash\nfor i in 1 2; do echo $i; done\necho no >&2")
        assert (done.stdout, done.stderr) == ("1\n2\n", "no\n")
        assert (await context.run_code("!echo hi")).stdout.strip() == "hi"


async def test_installing_without_a_network(coding: Coding) -> None:
    async with coding.context() as context:
        began = time.monotonic()
        done = await context.run_code("%pip install some-package", timeout=60)
        assert "no network" in done.stdout + done.stderr + str(done.error)
        assert time.monotonic() - began < 30


async def test_variables(coding: Coding) -> None:
    async with coding.own_context() as context:
        _ = await context.run_code("number = 3\nwords = ['a', 'b']\n_hidden = 1\nimport os")
        found = {each.name: each for each in await context.variables()}
        assert set(found) == {"number", "words"}
        assert found["words"].type == "list"
        value = {"a": [1, 2.5, None, True, "ü"], "big": 10**30, "raw": b"\x00\xff", "t": (1, 2)}
        await context.set("value", value)
        assert await context.get("value") == value
        assert (await context.run_code("value['t']")).text == "(1, 2)"
        with pytest.raises(CodeFailedError, match="nothing"):
            _ = await context.get("nothing")
        with pytest.raises(CodeFailedError):
            _ = await context.get("os")
        with pytest.raises(InvalidArgumentError):
            await context.set("value", object())
        with pytest.raises(InvalidArgumentError):
            _ = await context.get("a.b")


async def test_a_picture(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code(
            "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [4, 5, 6], label='l')\n"
            "plt.title('T')\nplt.show()",
            timeout=120,
        )
        (picture,) = [result for result in done.results if result.png]
        assert picture.png.startswith(b"\x89PNG\r\n")
        assert (picture.chart.kind, picture.chart.title) == ("line", "T")


async def test_a_table(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code(
            "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', None]})", timeout=120
        )
        assert "<table" in done.result.html
        assert [column.name for column in done.result.table.columns] == ["a", "b"]
        assert list(done.result.table.rows[0]) == [1, "x"]


async def test_a_plotly_figure(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code(
            "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2]))", timeout=120
        )
        assert done.ok
        (figure,) = done.results
        assert figure.data["application/vnd.plotly.v1+json"]["data"][0]["type"] == "bar"


async def test_a_big_picture(coding: Coding) -> None:
    async with coding.context() as context:
        done = await context.run_code(
            "import os\nfrom IPython.display import Image\n"
            "display({'image/png': __import__('base64').b64encode(os.urandom(5_000_000)).decode()},"
            " raw=True)"
        )
        assert len(done.results[0].png) == 5_000_000


async def test_templates_without_jupyter(live: Live) -> None:
    for template in ("base-python", "minimal"):
        async with live.box(template=template) as box:
            with pytest.raises(UnsupportedError, match=r"python-jupyter") as caught:
                _ = await box.run_code("1")
            assert caught.value.outcome == "not_started"


def test_ctrl_c(coding: Coding) -> None:
    """Ctrl-C interrupts the code, and the context goes on."""
    if not coding.colour.is_blocking:
        pytest.skip("asyncio turns Ctrl-C into a cancellation")

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with Client(coding.server.api_key, base_url=coding.server.base_url) as client:
        box = client.sandboxes.get(coding.sandbox_id)
        with box.code.create_context() as context:
            with pytest.raises(KeyboardInterrupt):
                _ = context.run_code("print('x')\nimport time\ntime.sleep(60)", on_stdout=interrupt)
            assert context.run_code("1").text == "1"


async def test_cancelling(coding: Coding) -> None:
    if coding.colour.is_blocking:
        pytest.skip("threads cannot be cancelled")
    async with coding.own_context() as context:
        task = await started(context, "print('x', flush=True)\nimport time\ntime.sleep(60)")
        _ = task.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await task
        assert (await context.run_code("1")).text == "1"
