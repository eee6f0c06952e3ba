"""Commands that are run to their end, the well-behaved ones and the others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from sandlot import (
    CommandFailedError,
    CommandTimeoutError,
    InvalidArgumentError,
    InvalidRequestError,
    SandlotError,
)
from tests.live.world import Live, eventually, marker, running


async def test_shell_lines_and_programs(live: Live) -> None:
    async with live.box() as box:
        assert (await box.exec("echo $((1 + 1)) | tr 2 3")).stdout == "3\n"
        assert (await box.exec(["echo", "$HOME", "a b"])).stdout == "$HOME a b\n"
        assert (await box.exec("echo", ["$HOME"])).stdout == "$HOME\n"
        result = await box.exec("echo out; echo err >&2; exit 3")
        assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
        assert not result.ok
        assert result.encoding == "utf-8"
        assert result.duration_ms >= 0
        assert (await box.exec("echo é漢🙂")).stdout == "é漢🙂\n"


@pytest.mark.parametrize(
    ("line", "exit_code", "signal"),
    [
        ("true", 0, None),
        ("false", 1, None),
        ("exit 255", 255, None),
        ("touch plain; ./plain", 126, None),
        ("no-such-program", 127, None),
        ("kill -9 $$", -1, "SIGKILL"),
        ("kill -TERM $$", -1, "SIGTERM"),
        ("kill -SEGV $$", -1, "SIGSEGV"),
    ],
)
async def test_exit_codes(live: Live, line: str, exit_code: int, signal: str | None) -> None:
    async with live.box() as box:
        result = await box.exec(line)
        assert (result.exit_code, result.signal, result.timed_out) == (exit_code, signal, False)


async def test_programs_that_cannot_be_run(live: Live) -> None:
    async with live.box() as box:
        for argv, code in ((["no-such-program"], 127), (["/etc/passwd"], 126), (["/tmp"], 126)):
            result = await box.exec(argv)
            assert result.exit_code == code
            assert argv[0] in result.stderr
        assert (await box.exec("true", cwd="/no/such/directory")).exit_code == 126


async def test_check_raises_what_went_wrong(live: Live) -> None:
    async with live.box() as box:
        assert (await box.exec("echo fine", check=True)).stdout == "fine\n"
        for options in ({}, {"on_stdout": lambda text: None}):
            with pytest.raises(CommandFailedError, match="oh no") as failed:
                _ = await box.exec("echo out; echo oh no >&2; exit 7", check=True, **options)
            assert failed.value.outcome == "finished"
            assert failed.value.result.exit_code == 7
            assert failed.value.stdout == "out\n"
            line = "echo out; sleep 60"
            with pytest.raises(CommandTimeoutError) as late:
                _ = await box.exec(line, check=True, timeout_sec=0.5, **options)
            assert late.value.stdout == "out\n"
            assert late.value.outcome == "finished"


async def test_environment_directory_and_user(live: Live) -> None:
    async with live.box() as box:
        result = await box.exec("echo $A; pwd; id -u", env={"A": "é b"}, cwd="/tmp")
        assert result.stdout == "é b\n/tmp\n1000\n"
        _ = await box.exec("mkdir inner")
        assert (await box.exec("pwd", cwd="inner")).stdout == "/home/user/inner\n"
        assert (await box.exec("id -u", user="user")).stdout == "1000\n"
        with pytest.raises(SandlotError) as caught:
            _ = await box.exec("id -u", user="nobody-has-this-name")
        assert caught.value.outcome == "not_started"


@pytest.mark.parametrize("data", ["", "text é\n", b"\x00\xff\xfe", b"x" * (3 << 20)])
async def test_stdin(live: Live, data: str | bytes) -> None:
    expected = data.encode() if isinstance(data, str) else data
    async with live.box() as box:
        assert (await box.exec(["cat"], stdin=data)).stdout_bytes == expected
        assert (await box.exec(["cat"])).stdout_bytes == b""


async def test_stdin_that_is_never_read(live: Live) -> None:
    async with live.box() as box:
        data = b"x" * (4 << 20)
        assert (await box.exec("echo done", stdin=data)).stdout == "done\n"
        result = await box.exec("sleep 60", stdin=data, timeout_sec=1)
        assert result.timed_out


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"ok \xc3", b"\x00\x01", bytes(range(256))])
async def test_output_that_is_not_utf_8(live: Live, raw: bytes) -> None:
    async with live.box() as box:
        await box.upload("raw", raw)
        result = await box.exec("cat raw; echo fine >&2")
        assert result.stdout_bytes == raw
        assert result.stdout == raw.decode(errors="replace")
        assert result.stderr == "fine\n"


async def test_callbacks_get_everything_in_order(live: Live) -> None:
    async with live.box() as box:
        out: list[str] = []
        err: list[str] = []
        result = await box.exec(
            "for i in 1 2 3; do echo é$i; echo e$i >&2; done; exit 4",
            on_stdout=out.append,
            on_stderr=err.append,
        )
        assert "".join(out) == result.stdout == "é1\né2\né3\n"
        assert "".join(err) == result.stderr == "e1\ne2\ne3\n"
        assert result.exit_code == 4


async def test_a_callback_that_raises_stops_the_command(live: Live) -> None:
    def refuse(text: str) -> None:
        raise ZeroDivisionError(text)

    async with live.box() as box:
        mark = marker()
        with pytest.raises(ZeroDivisionError, match="now"):
            _ = await box.exec(f"echo now; exec sleep {mark}", on_stdout=refuse)
        await eventually(lambda: not running(mark))


async def test_callbacks_may_be_awaited(live: Live) -> None:
    if live.colour.is_blocking:
        return  # nobody awaits there
    got: list[str] = []

    async def take(text: str) -> None:
        await asyncio.sleep(0)
        got.append(text)

    async with live.box() as box:
        _ = await box.exec("echo a; echo b", on_stdout=take)
        assert "".join(got) == "a\nb\n"


async def test_many_small_lines(live: Live) -> None:
    async with live.box(template="base-python") as box:
        program = "import os\nfor i in range(100000): os.write(1, b'%d\\n' % i)"
        result = await box.exec(["python3", "-c", program])
        assert result.stdout == "".join(f"{i}\n" for i in range(100_000))
        assert not result.truncated


async def test_output_without_end_is_cut_and_the_command_killed(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        result = await box.exec(f": {mark}; yes; true", timeout_sec=2)
        assert result.timed_out
        assert result.truncated
        assert (result.exit_code, result.signal in {"SIGTERM", "SIGKILL"}) == (-1, True)
        assert len(result.stdout_bytes) == 10 << 20
        assert set(result.stdout_bytes[:100]) == set(b"y\n")
        assert not running(mark)
        small = await box.exec("yes | head -c 5000", max_output_bytes=1000)
        assert (len(small.stdout), small.truncated, small.exit_code) == (1000, True, 0)


async def test_one_that_ignores_being_asked_to_end(live: Live) -> None:
    async with live.box() as box:
        mark = marker()
        start = time.monotonic()
        line = f"trap '' TERM INT HUP; echo started; while :; do sleep {mark}; done"
        result = await box.exec(line, timeout_sec=1)
        assert (result.exit_code, result.signal, result.timed_out) == (-1, "SIGKILL", True)
        assert result.stdout == "started\n"
        assert time.monotonic() - start < 10
        assert not running(mark)


async def test_one_that_ends_well_when_asked_has_timed_out_nevertheless(live: Live) -> None:
    async with live.box() as box:
        result = await box.exec("trap 'echo bye; exit 0' TERM; sleep 60 & wait", timeout_sec=1)
        assert (result.exit_code, result.signal, result.timed_out) == (-1, "SIGTERM", True)
        assert result.stdout == "bye\n"


DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", sys.argv[1]])
    os._exit(0)
os.wait()
print("detached", flush=True)
os.execvp("sleep", ["sleep", sys.argv[2]])
"""


async def test_detached_processes_die_at_the_time_limit(live: Live) -> None:
    async with live.box(template="base-python") as box:
        mark = marker()
        result = await box.exec(["python3", "-c", DAEMON, mark, "60"], timeout_sec=2)
        assert result.timed_out
        assert result.stdout == "detached\n"
        assert not running(mark)


async def test_detached_processes_outlive_a_command_that_ends(live: Live) -> None:
    async with live.box(template="base-python") as box:
        mark = marker()
        start = time.monotonic()
        result = await box.exec(["python3", "-c", DAEMON, mark, "0"])  # it holds the pipes
        assert (result.exit_code, result.stdout) == (0, "detached\n")
        assert time.monotonic() - start < 10
        assert running(mark)
        assert (await box.exec("true")).ok
        assert running(mark)
    await eventually(lambda: not running(mark))


async def test_a_fork_bomb(live: Live) -> None:
    bomb = "import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.01)"
    async with live.box(template="base-python") as box, live.box() as neighbour:
        # The mark is a comment of the program: all its copies have it in their command lines.
        mark = marker()
        bombing = asyncio.ensure_future(run(box, f"{bomb}\n# {mark}", timeout_sec=4))
        await eventually(lambda: len(running(mark)) > 100)
        assert (await neighbour.exec("echo fine")).stdout == "fine\n"
        result = await bombing
        assert result.timed_out
        # Killed, all of them; but so many take a moment to go, on a machine that is busy.
        await eventually(lambda: not running(mark))
        assert (await box.exec("echo fine")).stdout == "fine\n"


async def test_a_memory_hog(live: Live) -> None:
    hog = "data = []\nwhile True: data.append(b'x' * (16 << 20))"
    async with live.box(template="base-python", memory_mb=128) as box, live.box() as neighbour:
        result = await run(box, hog, timeout_sec=30)
        assert not result.timed_out
        assert result.signal == "SIGKILL" or "MemoryError" in result.stderr
        assert (await box.exec("echo fine")).stdout == "fine\n"
        assert (await neighbour.exec("echo fine")).stdout == "fine\n"


async def run(box: Any, program: str, **options: Any) -> Any:
    return await box.exec(["python3", "-c", program], **options)


BAD: list[tuple[Any, dict[str, Any]]] = [
    ("", {}),
    ("   ", {}),
    ([], {}),
    ([""], {}),
    ("echo \0", {}),
    (["echo", "a\0b"], {}),
    ("echo \ud800", {}),
    (["echo", b"\xff".decode(errors="surrogateescape")], {}),
    ("true", {"env": {"A": "\0"}}),
    ("true", {"env": {"A": "\udcff"}}),
    ("true", {"env": {"": "x"}}),
    ("true", {"env": {"A=B": "x"}}),
    ("true", {"cwd": "a\0b"}),
    ("true", {"cwd": "\ud800"}),
    ("true", {"stdin": "\ud800"}),
    ("true", {"timeout_sec": -1}),
    ("true", {"timeout_sec": float("nan")}),
]


async def test_what_cannot_be_a_command_is_not_sent(live: Live) -> None:
    async with live.box() as box:
        for cmd, options in BAD:
            for method in (box.exec, lambda cmd, **options: entered(box.exec_stream, cmd, options)):
                with pytest.raises(InvalidArgumentError) as caught:
                    _ = await method(cmd, **options)
                assert isinstance(caught.value, ValueError)
                assert caught.value.outcome == "not_started"


async def entered(method: Any, cmd: Any, options: dict[str, Any]) -> None:
    async with method(cmd, **options):
        pass


async def test_the_server_refuses_it_too(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        path = f"/v1/sandboxes/{box.id}/exec"
        for body in ({"cmd": ""}, {"cmd": "a\0b"}, {"cmd": "true", "env": {"A": "\0"}}, {}):
            with pytest.raises(InvalidRequestError) as caught:
                _ = await client.request("POST", path, json=body)
            assert caught.value.outcome == "not_started"


async def test_arguments_that_are_too_long_for_the_kernel(live: Live) -> None:
    async with live.box() as box:
        with_long = await outcome_of(box.exec(["true", "x" * (1 << 20)]))
        assert with_long in {126, "not_started"}
        assert (await box.exec("true")).ok


async def outcome_of(call: Any) -> int | str:
    try:
        result = await call
    except SandlotError as exc:
        return exc.outcome
    return int(result.exit_code)
