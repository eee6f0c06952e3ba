"""Running programs: what every engine must do."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from sandlot.server.engine.base import Command, EngineError, Exit, SandboxGoneError

from .conftest import OpenBox, collect, read_line

pytestmark = pytest.mark.parametrize("engine_kind", ["local", "local-bare", "process"])


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


async def test_output_and_exit_code(open_box: OpenBox) -> None:
    async with open_box() as box:
        result = await box.shell("echo out; echo err >&2; exit 42")
        assert (result.exit, result.stdout, result.stderr) == (Exit(42), b"out\n", b"err\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_death_by_signal(open_box: OpenBox, number: int) -> None:
    async with open_box() as box:
        assert (await box.shell(f"kill -{number} $$")).exit == Exit(-1, number)


async def test_program_that_does_not_exist(open_box: OpenBox) -> None:
    async with open_box() as box:
        for name in ("no-such-program", "/no/such/program", "./no-such-program"):
            result = await box.run(name)
            assert result.exit == Exit(127)
            assert name.encode() in result.stderr
            assert result.stderr.endswith(b"\n")


async def test_program_that_cannot_be_executed(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("script", b"#!/bin/sh\necho no\n")
        await box.write("broken", b"#!/no/such/interpreter\n")
        assert (await box.run("chmod", "+x", "broken")).exit == Exit(0)
        for name in ("./script", "/", "./broken"):
            result = await box.run(name)
            assert result.exit == Exit(126), name
            assert name.encode() in result.stderr


async def test_directory_that_cannot_be_entered(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("file", b"")
        for cwd in ("/no/such/directory", "file"):
            result = await box.run("true", cwd=cwd)
            assert result.exit == Exit(126)
            assert cwd.encode() in result.stderr


async def test_pid_is_the_programs_own(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("/bin/sh", "-c", "echo $$")
        assert await read_line(process) == b"%d\n" % process.pid
        assert await process.wait() == Exit(0)
        await process.close()


async def test_environment(open_own: OpenBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDLOT_TEST_SECRET", "secret")
    async with open_own() as box:
        result = await box.run("env", env={"GREETING": "grüß\ndich", "USER": "someone"})
        lines = result.stdout.split(b"\n")
        assert "GREETING=grüß".encode() in lines
        assert b"dich" in lines
        assert b"USER=someone" in lines
        assert b"LANG=C.UTF-8" in lines
        assert not any(b"SECRET" in line for line in lines)
        found = await box.shell("which python; which python3")
        assert found.stdout.count(b"\n") == 2


async def test_path_of_the_command_is_searched(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("bin/hello", b"#!/bin/sh\necho hello\n")
        assert (await box.run("chmod", "+x", "bin/hello")).exit == Exit(0)
        result = await box.run("hello", env={"PATH": "bin:/bin"})
        assert result.stdout == b"hello\n"


async def test_working_directory(open_box: OpenBox) -> None:
    async with open_box() as box:
        home = (await box.run("pwd")).stdout.strip()
        assert (await box.shell("echo $HOME")).stdout.strip() == home
        await box.write("deep/er/file", b"")
        assert (await box.run("pwd", cwd="deep/er")).stdout.strip() == home + b"/deep/er"
        assert (await box.run("pwd", cwd="/usr")).stdout == b"/usr\n"


async def test_standard_input(open_box: OpenBox) -> None:
    data = os.urandom(1 << 20)
    async with open_box() as box:
        process = await box.start("cat", stdin=True)

        async def feed() -> None:
            await process.write_stdin(data)
            await process.close_stdin()
            await process.close_stdin()

        _, output = await asyncio.gather(feed(), collect(process))
        assert output["stdout"] == data
        assert await process.wait() == Exit(0)
        with pytest.raises(BrokenPipeError):
            await process.write_stdin(b"more")
        await process.close()


async def test_standard_input_is_empty_unless_asked_for(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("cat")
        assert await collect(process) == {"stdout": b"", "stderr": b""}
        assert await process.wait() == Exit(0)
        with pytest.raises(BrokenPipeError):
            await process.write_stdin(b"x")
        await process.close()


async def test_program_that_never_reads(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600", stdin=True)
        writing = asyncio.create_task(process.write_stdin(bytes(1 << 20)))
        done, _ = await asyncio.wait({writing}, timeout=0.1)
        assert not done, "a megabyte went into a pipe that nobody reads"
        await process.kill()
        with pytest.raises(BrokenPipeError):
            await writing
        await process.close()


async def test_close_wakes_a_writer(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600", stdin=True)
        writing = asyncio.create_task(process.write_stdin(bytes(1 << 20)))
        await asyncio.sleep(0)
        await process.close()
        with pytest.raises(BrokenPipeError):
            await writing


@pytest.mark.parametrize(
    "command",
    [
        Command([]),
        Command(["echo", "a\0b"]),
        Command(["true"], env={"A": "b\0c"}),
        Command(["true"], env={"A=B": "c"}),
        Command(["true"], env={"": "c"}),
        Command(["true"], cwd="/tmp\0"),
        Command(["echo", "\ud800"]),
        Command(["true"], user="root"),
        Command(["echo", "x" * (17 << 20)]),
    ],
    ids=["empty", "nul", "nul-env", "equals", "no-name", "nul-cwd", "surrogate", "user", "huge"],
)
async def test_commands_that_cannot_be(open_box: OpenBox, command: Command) -> None:
    async with open_box() as box:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(EngineError):
            _ = await box.sandbox.spawn(command)
        assert len(os.listdir("/proc/self/fd")) == before
        assert (await box.run("true")).exit == Exit(0)


async def test_long_arguments(open_box: OpenBox) -> None:
    async with open_box() as box:
        arguments = ["x" * 100_000] * 12
        result = await box.run("/bin/sh", "-c", 'echo "$@" | wc -c', "sh", *arguments)
        assert int(result.stdout) == 12 * 100_001
        result = await box.run("true", *["x" * 200_000])
        assert result.exit == Exit(126)
        assert b"rgument list too long" in result.stderr


async def test_text_that_is_not_utf8(open_box: OpenBox) -> None:
    async with open_box() as box:
        raw = b"caf\xe9"
        result = await box.run("printf", "%s", os.fsdecode(raw))
        assert result.stdout == raw


async def test_programs_get_three_descriptors(open_box: OpenBox) -> None:
    async with open_box() as box:
        result = await box.shell("ls /proc/$$/fd")
        assert result.stdout.split() == [b"0", b"1", b"2"]


async def test_standard_streams_can_be_opened_by_name(open_box: OpenBox) -> None:
    async with open_box() as box:
        result = await box.shell("echo out > /dev/stdout; echo err > /dev/stderr")
        assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


async def test_signals_and_umask_are_the_defaults(open_box: OpenBox) -> None:
    async with open_box() as box:
        result = await box.shell("umask; grep -E 'Sig(Ign|Blk)' /proc/self/status")
        umask, *lines = result.stdout.splitlines()
        assert umask == b"0022"
        for line in lines:
            # The C library keeps signals 32 and 33 to itself, and ignores them in what it spawns.
            assert int(line.split()[1], 16) & ~(0b11 << 31) == 0, line
        assert (await box.shell("yes | head -n 1")).stdout == b"y\n"


async def test_output_that_nobody_reads_stops_the_program(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("yes")
        size = 0
        while size < 10 << 20:
            output = await process.read()
            assert output is not None
            size += len(output.data)
        # It sleeps in write(2) until somebody reads.
        await box.until(f"grep -q '^State:.S' /proc/{process.pid}/status")
        before = await box.run("cat", f"/proc/{process.pid}/stat")
        after = await box.run("cat", f"/proc/{process.pid}/stat")
        assert before.stdout.split()[13:15] == after.stdout.split()[13:15]
        assert await process.read() is not None
        await process.kill()
        assert await process.wait() == Exit(-1, signal.SIGKILL)
        await process.close()


async def test_others_get_their_turn_while_output_floods(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("yes")
        flood = asyncio.create_task(collect(process))
        try:
            async with asyncio.timeout(45):
                assert (await box.run("echo", "hello")).stdout == b"hello\n"
        finally:
            flood.cancel()
            await process.close()


async def test_wait_does_not_wait_for_those_left_behind(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start_shell("sleep 600 & echo started")
        assert await read_line(process) == b"started\n"
        assert await process.wait() == Exit(0)
        reading = asyncio.create_task(process.read())
        done, _ = await asyncio.wait({reading}, timeout=0.05)
        assert not done, "the end of output was told while a process can still write"
        await process.discard()
        assert await reading is None
        assert await process.read() is None
        await process.kill()
        await process.close()


async def test_discard_lets_those_left_behind_run_on(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start_shell(
            "(head -c 3000000 /dev/zero; echo $? > status; echo >&2; echo >&2; touch end) & exit 3"
        )
        assert await process.wait() == Exit(3)
        await process.discard()
        await process.discard()
        await process.close()
        await box.until("[ -e end ]")
        assert await box.read("status") == b"0\n"


async def test_what_was_written_before_is_not_discarded(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start_shell("head -c 50000 /dev/zero; echo no >&2; sleep 600 & exit 3")
        assert await process.wait() == Exit(3)
        await process.discard()
        written = {"stdout": 0, "stderr": 0}
        while (output := await process.read()) is not None:
            written[output.stream] += len(output.data)
        assert written == {"stdout": 50_000, "stderr": 3}
        await process.kill()
        await process.close()


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        with open("pid.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("pid.new", "pid")
        while True:
            time.sleep(100)
    os._exit(0)
os.wait()
print("started", flush=True)
time.sleep(600)
"""


async def test_kill_reaches_daemons(open_box: OpenBox) -> None:
    async with open_box() as box:
        bystander = await box.start("sleep", "600")
        process = await box.start_python(DAEMON)
        assert await read_line(process) == b"started\n"
        await box.until("[ -e pid ]")
        daemon = (await box.read("pid")).decode()
        assert (await box.shell(f"kill -0 {daemon}")).exit == Exit(0)
        await process.kill()
        assert await process.wait() == Exit(-1, signal.SIGKILL)
        assert (await box.shell(f"cat /proc/{daemon}/stat")).stdout == b""
        assert (await box.shell(f"kill -0 {bystander.pid}")).exit == Exit(0)
        await process.close()
        await bystander.close()


async def test_kill_reaches_a_storm_of_forks(open_box: OpenBox, engine_kind: str) -> None:
    storm = """
import os, time
print("started", flush=True)
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(0.002)
time.sleep(600)
"""
    if engine_kind == "process":
        pytest.skip("without walls, a failure would be the host's trouble")
    async with open_box() as box:
        process = await box.start_python(storm)
        assert await read_line(process) == b"started\n"
        await process.kill()
        assert await process.wait() == Exit(-1, signal.SIGKILL)
        await process.close()
        left = await box.shell(f"grep -l SANDLOT_PROCESS={process._key} /proc/[0-9]*/environ")
        assert left.stdout == b""


async def test_kill_with_grace_asks_first(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start_shell(
            "trap 'echo bye; exit 5' TERM; echo started; while :; do sleep 0.01; done"
        )
        assert await read_line(process) == b"started\n"
        async with asyncio.timeout(20):
            await process.kill(grace=60)
        assert await process.wait() == Exit(5)
        assert (await collect(process))["stdout"] == b"bye\n"
        await process.close()


async def test_kill_with_grace_insists(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start_shell("trap '' TERM; echo started; while :; do sleep 0.01; done")
        assert await read_line(process) == b"started\n"
        await process.kill(grace=0.1)
        assert await process.wait() == Exit(-1, signal.SIGKILL)
        await process.close()


async def test_signal_goes_to_the_group(open_box: OpenBox) -> None:
    async with open_box() as box:
        # The outer shell runs its trap when the inner one has died of the signal.
        script = "trap 'echo got; exit 0' INT; sh -c 'echo started; exec cat'"
        process = await box.start_shell(script, stdin=True)
        assert await read_line(process) == b"started\n"
        await process.signal(signal.SIGINT)
        assert await collect(process) == {"stdout": b"got\n", "stderr": b""}
        assert await process.wait() == Exit(0)
        await process.signal(signal.SIGINT)  # too late, and no error
        await process.kill()
        await process.close()
        await process.close()


async def test_close_kills(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600")
        await process.close()
        await box.until(f"! kill -0 {process.pid} 2>/dev/null")


async def test_cancelled_spawn_leaves_no_program(open_box: OpenBox) -> None:
    async with open_box() as box:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            task = asyncio.create_task(box.start("sleep", "6543"))
            await asyncio.sleep(0)
            _ = task.cancel()
            with pytest.raises(asyncio.CancelledError):
                _ = await task
        await box.until("! grep -sq '[6]543' /proc/[0-9]*/cmdline")
        assert len(os.listdir("/proc/self/fd")) == before


async def test_descriptors_return_to_the_start(open_box: OpenBox) -> None:
    async with open_box() as box:
        _ = await box.run("true")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            assert (await box.run("echo", "x", stdin=True)).exit == Exit(0)
        assert len(os.listdir("/proc/self/fd")) == before
        assert (await box.shell("ls /proc/self/fd | wc -l")).stdout == b"4\n"


async def test_after_death_of_the_sandbox(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600")
        reading = asyncio.create_task(process.read())
        waiting = asyncio.create_task(process.wait())
        await box.engine.destroy(box.sandbox.id)
        await box.sandbox.wait_gone()
        with pytest.raises(SandboxGoneError):
            _ = await reading
        for attempt in (
            waiting,
            process.wait(),
            process.kill(),
            process.signal(15),
            box.start("true"),
            box.sandbox.open_reader("x"),
            box.sandbox.open_writer("x"),
            box.sandbox.pause(),
            box.sandbox.resume(),
            box.sandbox.usage(),
        ):
            with pytest.raises(SandboxGoneError):
                _ = await attempt
        await process.discard()
        await process.close()
