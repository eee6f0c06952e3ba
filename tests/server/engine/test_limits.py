"""Bad programs, and that they hurt nobody but themselves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from pathlib import Path

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import EngineError, Exit, FileAccessError
from sandlot.server.engine.local import cgroups, watchdog
from sandlot.server.engine.local.cgroups import Place

from .conftest import Box, OpenBox, read_line, spec

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux"),
    pytest.mark.parametrize("engine_kind", ["local", "local-bare"]),
]


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


FORK_BOMB = """
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        count += 1
except OSError:
    print(count)
"""

MEMORY_HOG = """
data = []
try:
    while len(data) < 64:
        data.append(b"x" * (16 << 20))
except MemoryError:
    raise SystemExit(9)
"""

FILLER = """
import os, sys
size = 0
try:
    with open(sys.argv[1], "wb", 0) as file:
        while size < 1 << 30:
            size += file.write(bytes(1 << 20))
except OSError as error:
    print(size >> 20, error.strerror)
"""


async def test_fork_bomb(open_box: OpenBox) -> None:
    async with open_box() as box:
        other = Box(box.engine, await box.engine.create(spec("other")), box.data_dir)
        process = await box.start_python(FORK_BOMB)
        output = await process.read()
        assert output is not None
        assert 400 < int(output.data) <= 512
        # The neighbour is not bound by it, and the agent is still there to end it.
        assert (await other.python("import os; os.wait() if os.fork() else None")).exit == Exit(0)
        await process.kill()
        await process.close()
        assert (await box.run("echo", "alive")).stdout == b"alive\n"


async def test_memory_hog(open_box: OpenBox, engine_kind: str) -> None:
    async with open_box(memory_mb=128) as box:
        result = await box.python(MEMORY_HOG)
        limited_by = box.engine.capabilities.limits.memory
        bare = engine_kind == "local-bare" or os.getuid() != 0
        assert limited_by == ("watchdog" if bare else "cgroup")
        # Without a control group the process is refused memory, and ends as it likes.
        assert result.exit == (Exit(9) if bare else Exit(-1, 9, oom=True))
        assert (await box.run("echo", "alive")).stdout == b"alive\n"


async def test_least_memory(open_box: OpenBox) -> None:
    async with open_box(memory_mb=8) as box:
        assert (await box.python("print('enough')")).stdout == b"enough\n"
        with pytest.raises(EngineError, match="at least 8 MiB"):
            _ = await box.engine.create(spec("other", memory_mb=7))


async def test_memory_hog_of_many_processes(open_box: OpenBox) -> None:
    """What is killed for memory is told, and it is not the agent."""
    program = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        data = b"x" * (30 << 20)
        time.sleep(600)
killed = 0
for _ in range(8):  # there is room for one, or for two
    killed += os.WTERMSIG(os.wait()[1]) == 9
print(killed)
"""
    async with open_box(memory_mb=64) as box:
        for _ in range(2):
            process = await box.start_python(program)
            assert await read_line(process) == b"8\n"
            assert await process.wait() == Exit(0, oom=True)
            await process.kill()
            await process.close()
        result = await box.run("echo", "alive")
        assert (result.exit, result.stdout) == (Exit(0), b"alive\n")


async def test_shared_memory_is_counted_once(open_box: OpenBox) -> None:
    """Forks share what they do not write to: ten of them are no hog."""
    program = """
import os, time
data = b"x" * (24 << 20)
children = []
for _ in range(10):
    children.append(os.fork())
    if children[-1] == 0:
        time.sleep(1)
        os._exit(0)
print([os.waitpid(child, 0)[1] for child in children])
"""
    async with open_box(memory_mb=96) as box:
        result = await box.python(program)
        assert (result.exit, result.stdout) == (Exit(0), f"{[0] * 10}\n".encode())


@pytest.mark.parametrize(
    ("path", "bound"), [("/tmp/big", 64), ("/dev/shm/big", 32), ("big", 100), ("/var/tmp/big", 64)]
)
async def test_disk_filler(open_box: OpenBox, path: str, bound: int) -> None:
    async with open_box(memory_mb=128, disk_mb=100) as box:
        result = await box.run("python3", "-c", FILLER, path)
        size, _, reason = result.stdout.decode().strip().partition(" ")
        assert reason in ("No space left on device", "File too large")
        assert bound - 2 <= int(size) <= bound


FILES = """
import os, sys
for number in range(64):
    with open(f"{sys.argv[1]}{number}", "wb", 0) as file:
        file.write(bytes(8 << 20))
"""


async def test_sum_of_files(open_box: OpenBox) -> None:
    """Who stores too much is killed and told so, and can clean up; uploads find no room."""
    async with open_box(disk_mb=16) as box:
        result = await box.run("python3", "-c", FILES, "a")
        assert result.exit == Exit(-1, 9, no_space=True)
        with pytest.raises(FileAccessError) as caught:
            await box.write("new", b"x" * 1024)
        assert caught.value.problem == "no_space"
        assert (await box.shell("sleep 1.5; ls | wc -l; rm a*")).exit == Exit(0)
        for _ in itertools.count():  # files are counted anew only so often
            if await has_room(box):
                break
            await asyncio.sleep(0.1)
        assert (await box.shell("ls")).stdout == b"new\n"


async def has_room(box: Box) -> bool:
    with contextlib.suppress(FileAccessError):
        await box.write("new", b"x" * (4 << 20))
        return True
    return False


async def test_what_shells_tell_of_a_file_that_is_too_large(open_box: OpenBox) -> None:
    async with open_box(disk_mb=8) as box:
        result = await box.shell("head -c 20m /dev/zero > big")
        assert result.exit.no_space
        assert not (await box.shell("true")).exit.no_space


async def test_uploads_share_the_room(open_box: OpenBox) -> None:
    async with open_box(disk_mb=8) as box:
        for name in ("one", "two", "three"):
            await box.write(name, bytes(2 << 20))
        with pytest.raises(FileAccessError, match="quota"):
            await box.write("four", bytes(3 << 20))
        assert (await box.shell("ls")).stdout.split() == [b"one", b"three", b"two"]


async def test_what_the_host_keeps(
    tmp_path: Path, engine_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever fills the disk of the host is stopped, whatever its own limit."""
    free = watchdog._free
    began = free(tmp_path)
    monkeypatch.setattr(watchdog, "_free", lambda path: free(path) - began + (80 << 20))
    kept = make_engine("local", tmp_path / "data", disk_reserve_mb=40)
    await kept.start()
    try:
        box = Box(kept, await kept.create(spec(disk_mb=4096)), tmp_path / "data")
        result = await box.run("python3", "-c", "import time; time.sleep(1.2)\n" + FILES, "a")
        assert result.exit == Exit(-1, 9, no_space=True)
        with pytest.raises(FileAccessError):
            await box.write("new", b"x")
    finally:
        await kept.close()


async def test_terminals_are_left_for_others(open_box: OpenBox) -> None:
    program = """
import os
terminals = []
try:
    while True:
        terminals.append(os.open("/dev/ptmx", os.O_RDWR))
except OSError:
    print(len(terminals))
"""
    async with open_box() as box:
        assert 8 <= int((await box.python(program)).stdout) <= 256


async def test_filling_memory_with_empty_files_is_bounded(open_box: OpenBox) -> None:
    program = """
import itertools
try:
    for number in itertools.count():
        open(f"/tmp/{number}", "w").close()
except OSError:
    print(number)
"""
    async with open_box(memory_mb=64) as box:
        result = await box.python(program)
        assert int(result.stdout) < 32 * 256


@pytest.mark.alone
async def test_cpu_hog(open_box: OpenBox) -> None:
    program = """
import multiprocessing, time
def spin(_):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pass
    return time.process_time()
with multiprocessing.Pool(2) as pool:
    print(sum(pool.map(spin, range(2))))
"""
    async with open_box(vcpus=1) as box:
        if box.engine.capabilities.limits.cpu != "cgroup":
            pytest.skip("there is no cgroup to limit it by")
        result = await box.python(program)
        assert float(result.stdout) < 1.4  # two processors would have given two seconds


async def test_limits_are_told(open_box: OpenBox) -> None:
    async with open_box(disk_mb=3) as box:
        script = "ulimit -c; ulimit -f; ulimit -u; ulimit -n"
        core, file_size, processes, descriptors = (
            (await box.run("bash", "-c", script)).stdout.decode().split()
        )
        assert (core, file_size, processes) == ("0", "3072", "512")
        assert int(descriptors) <= 16384


async def test_descriptors_on_the_way_are_used_up(open_box: OpenBox) -> None:
    program = """
import array, socket, time
pairs = []
rights = array.array("i", [0] * 250)
try:
    while True:
        pairs.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        for _ in range(8):
            pairs[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
except OSError as error:
    print(error.strerror)
time.sleep(600)
"""
    async with open_box() as box:
        process = await box.start_python(program)
        assert await read_line(process) == b"Too many references: cannot splice\n"
        for path in ("/etc/hosts", "new"):
            with pytest.raises(FileAccessError, match="Too many references"):
                await (box.sandbox.open_reader(path) if path != "new" else box.write(path, b""))
        await process.kill()
        await process.close()
        assert (await box.shell("ls -A")).stdout == b""
        await box.write("new", b"alive")


def own_badness() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


async def test_agent_is_no_better_choice_for_the_memory_killer(open_box: OpenBox) -> None:
    async with open_box() as box:
        result = await box.shell("cat /proc/self/oom_score_adj")
        assert int(result.stdout) == min(own_badness() + 500, 1000)


async def test_sandbox_that_never_answers_is_given_up(
    open_box: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600", stdin=True)
        await box.sandbox.pause()
        if box.engine.capabilities.pause != "freeze":
            pytest.skip("the agent itself is not frozen")
        async with asyncio.timeout(45):
            await process.close()
            await box.engine.destroy("box")
        await box.sandbox.wait_gone()


async def test_cgroups_that_cannot_be_entered_are_done_without(
    open_own: OpenBox, engine_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new group of this controller has no processors, so the kernel lets nobody in."""
    cpusets = Path("/sys/fs/cgroup/cpuset")
    if not os.access(cpusets / "cgroup.procs", os.W_OK):
        pytest.skip("there is no such group here")
    find = cgroups.find_places
    broken = Place(cpusets, 1, frozenset({"nothing"}))
    monkeypatch.setattr(cgroups, "find_places", lambda *files: [broken, *find(*files)])
    async with open_own() as box:
        assert (await box.run("echo", "x")).stdout == b"x\n"
        expected = "watchdog" if engine_kind == "local-bare" else "cgroup"
        assert box.engine.capabilities.limits.memory == expected
    assert "sandlot-" not in str(os.listdir(cpusets))
