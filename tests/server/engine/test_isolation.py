"""What sandboxed code cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Exit, FileAccessError
from sandlot.server.engine.local import engine
from sandlot.server.engine.local.templates import Template, Templates

from .conftest import Box, OpenBox, read_line, spec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux")

PROGRAM = Path(__file__).with_name("escapes.py")
SECRET = "the-secret-of-the-host"


@pytest.fixture
def open_box(open_shared: OpenBox) -> OpenBox:
    """Each has a sandbox of its own, but no engine."""
    return open_shared


def attempts() -> ModuleType:
    module_spec = importlib.util.spec_from_file_location("escapes", PROGRAM)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def attempt_names() -> list[str]:
    return list(attempts().attempts)


def refusals() -> dict[str, str]:
    """Return what is to refuse the attempts of which that is said."""
    return {name: entry[3] for name, entry in attempts().CALLS.items()}


@contextlib.contextmanager
def host(directory: Path) -> Iterator[Mapping[str, object]]:
    """Put everything there that a sandbox must not reach."""
    _ = (directory / "secret").write_text(SECRET)
    marker = "86401.5"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
        subprocess.Popen(["sleep", marker], env={"PATH": os.defpath, "SECRET": SECRET}) as process,
    ):
        abstract.bind(f"\0sandlot-{os.getpid()}")
        abstract.listen()
        named.bind(f"{directory}/socket")
        named.listen()
        try:
            yield {
                "secret": SECRET,
                "marker": marker,
                "port": tcp.getsockname()[1],
                "abstract": f"sandlot-{os.getpid()}",
                "directory": str(directory),
            }
        finally:
            process.kill()


async def attempt_all(kind: str, directory: Path) -> Mapping[str, str | None]:
    engine = make_engine(kind, directory / "data")
    await engine.start()
    try:
        box = Box(engine, await engine.create(spec()), directory)
        _ = await engine.create(spec("other"))
        await box.write("escapes.py", PROGRAM.read_bytes())
        with host(directory) as facts:
            await box.write("facts", json.dumps(facts).encode())
            result = await box.shell("python3 escapes.py < facts")
        assert result.exit == Exit(0), result
        # Whatever was tried, it still serves.
        assert (await box.run("echo", "alive")).stdout == b"alive\n"
        return json.loads(result.stdout)
    finally:
        await engine.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str | None]:
    return asyncio.run(attempt_all("local", tmp_path_factory.mktemp("host")))


@pytest.mark.parametrize("name", attempt_names())
def test_no_way_out(results: Mapping[str, str | None], name: str) -> None:
    assert results[name] is not None, f"{name.replace('_', ' ')}: possible"


@pytest.mark.parametrize(("name", "refusal"), refusals().items())
def test_refusal(results: Mapping[str, str | None], name: str, refusal: str) -> None:
    assert results[name] == refusal


HARMLESS_ON_THE_HOST = {
    "read_a_file_of_the_host",
    "see_other_sandboxes",
    "see_processes_of_the_host",
    "read_the_environment_of_the_server",
    "reach_the_loopback_of_the_host",
    "reach_an_abstract_socket_of_the_host",
    "reach_a_socket_of_the_host_by_its_path",
    "enter_a_user_namespace_by_clone",
    "enter_a_user_namespace_by_clone3",
    "enter_a_user_namespace_by_unshare",
    "gain_rights_by_set_user_id",
    "be_unfiltered",
    "be_root_of_the_host",
}


def test_the_attempts_notice_missing_walls(tmp_path: Path) -> None:
    """Without walls the same attempts get through, so it is the walls that stop them."""
    (tmp_path / "data/sandboxes").mkdir(parents=True)
    with host(tmp_path) as facts:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *sorted(HARMLESS_ON_THE_HOST)],
            input=json.dumps(facts).encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
    stopped = {name: why for name, why in json.loads(done.stdout).items() if why is not None}
    assert stopped == {}


async def test_sandboxes_do_not_share_users(open_box: OpenBox) -> None:
    async with open_box() as box:
        other = Box(box.engine, await box.engine.create(spec("other")), box.data_dir)
        outside = {
            (await each.run("cat", "/proc/self/uid_map")).stdout.split()[1] for each in (box, other)
        }
        if os.getuid() == 0:
            assert len(outside) == 2
            assert b"0" not in outside
            assert box.engine.capabilities.private_uid
        else:
            assert outside == {str(os.getuid()).encode()}
            assert not box.engine.capabilities.private_uid


async def test_namespaces_are_new(open_box: OpenBox) -> None:
    kinds = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}
    async with open_box() as box:
        other = Box(box.engine, await box.engine.create(spec("other")), box.data_dir)
        for kind in sorted(kinds):
            own = os.readlink(f"/proc/self/ns/{kind}")
            links = [
                (await each.run("readlink", f"/proc/self/ns/{kind}")).stdout.decode().strip()
                for each in (box, other)
            ]
            assert len({own, *links}) == 3, kind
        assert set(box.engine.capabilities.namespaces) == kinds - {"mnt"} | {"mount"}


async def test_what_is_there(open_box: OpenBox) -> None:
    async with open_box() as box:
        assert (await box.run("id")).stdout == b"uid=1000(user) gid=1000(user) groups=1000(user)\n"
        assert (await box.run("hostname")).stdout == b"sandbox\n"
        root = (await box.run("ls", "/")).stdout.split()
        assert set(root) - {b"lib32", b"lib64", b"libx32"} == {
            *(b"bin", b"dev", b"etc", b"home", b"lib", b"opt", b"proc", b"run"),
            *(b"sbin", b"tmp", b"usr", b"var", b"workspace"),
        }
        assert (await box.run("ls", "/usr/local")).stdout == b""
        assert (await box.run("stat", "-c", "%a", "/tmp")).stdout == b"1777\n"
        assert (await box.run("ls", "-A", "/tmp", "/dev/shm", "/home/user")).stdout.split() == [
            *(b"/dev/shm:", b"/home/user:", b"/tmp:"),
        ]


async def test_the_sandbox_has_a_loopback_of_its_own(open_box: OpenBox) -> None:
    program = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
print([name for _, name in socket.if_nameindex()])
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    print(error.strerror)
"""
    async with open_box() as box:
        result = await box.python(program)
        assert result.stdout == b"['lo']\nNetwork is unreachable\n", result


async def test_terminals_threads_and_memory_work(open_box: OpenBox) -> None:
    program = """
import multiprocessing, os, pty, threading
master, slave = pty.openpty()
os.write(slave, b"x")
print(os.read(master, 1), os.isatty(slave))
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
with multiprocessing.Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
"""
    async with open_box() as box:
        result = await box.python(program)
        assert result.stdout == b"b'x' True\nthread\n[1, 2]\n", result


async def test_pid_1_keeps_its_environment_empty_and_its_socket_hidden(open_box: OpenBox) -> None:
    async with open_box() as box:
        process = await box.start("sleep", "600")
        table = (await box.run("ls", "/proc")).stdout.split()
        assert b"1" in table
        pids = [name for name in table if name.isdigit()]
        assert len(pids) <= 3
        await process.close()


async def test_an_interpreter_from_elsewhere(
    open_own: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no Python, the server's own is shown in /opt."""
    elsewhere = Template(True, Path("/usr"), {"python": "/opt/python/bin/python3"})
    monkeypatch.setattr(
        engine,
        "find_templates",
        lambda _: Templates({"minimal": elsewhere, "base-python": elsewhere}),
    )
    async with open_own() as box:
        result = await box.run("/opt/bin/python", "-c", "import json, sys; print(sys.executable)")
        assert result.stdout == b"/opt/bin/python\n"
        result = await box.shell("echo > /opt/python/new; ls -d /opt/python/lib")
        assert result.stdout == b"/opt/python/lib\n"
        assert b"Read-only file system" in result.stderr


SWAPPER = """
import os
os.mkdir("swapped")
open("swapped/file", "w").write("mine")
os.symlink("OUTSIDE", "link")
print("ready", flush=True)
while True:
    os.rename("swapped", "aside")
    os.rename("link", "swapped")
    os.rename("swapped", "link")
    os.rename("aside", "swapped")
"""


async def test_swapped_directories_lead_nowhere(open_box: OpenBox) -> None:
    """Files are opened by the agent, inside: a link planted at the right moment gains nothing."""
    async with open_box() as box:
        outside = box.data_dir.parent / "outside"
        outside.mkdir()
        _ = (outside / "file").write_text(SECRET)
        process = await box.start_python(SWAPPER.replace("OUTSIDE", str(outside)))
        assert await read_line(process) == b"ready\n"
        seen = set[bytes]()
        async with asyncio.timeout(30):
            for _ in range(200):
                with contextlib.suppress(FileAccessError):
                    seen.add(await box.read("swapped/file"))
                with contextlib.suppress(FileAccessError):
                    await box.write("swapped/file", b"mine")
        await process.kill()
        await process.close()
        assert seen == {b"mine"}
        assert (outside / "file").read_text() == SECRET
        assert os.listdir(outside) == ["file"]


async def test_bounds_of_the_namespace(open_box: OpenBox) -> None:
    """What the kernel counts for a user is bounded, as that user may be the server's own."""
    async with open_box() as box:
        result = await box.shell("cd /proc/sys/user; cat max_user_namespaces max_inotify_instances")
        assert result.stdout.split() == [b"0", b"64"]


# Walls behind walls: each holds something that another one holds already, so that no attempt shows
# that it is there.


async def test_kernel_settings_are_read_only_whoever_asks(open_box: OpenBox) -> None:
    program = """
import os
for name in ("sys", "irq", "bus", "fs"):
    if os.path.isdir(f"/proc/{name}"):
        print(name, os.statvfs(f"/proc/{name}").f_flag & os.ST_RDONLY)
"""
    async with open_box() as box:
        lines = (await box.python(program)).stdout.decode().splitlines()
        assert "sys 1" in lines
        assert {line.split()[1] for line in lines} == {"1"}


async def test_secrets_of_the_kernel_are_covered(open_box: OpenBox) -> None:
    hidden = {"sysrq-trigger", "kcore", "keys", "timer_list", "kallsyms"}
    present = [f"/proc/{name}" for name in hidden.intersection(os.listdir("/proc"))]
    async with open_box() as box:
        result = await box.run("stat", "-c", "%t:%T", *present, "/dev/null")
        assert set(result.stdout.split()) == {b"1:3"}


async def test_the_old_root_is_gone(open_box: OpenBox) -> None:
    async with open_box() as box:
        lines = (await box.run("cat", "/proc/self/mountinfo")).stdout.decode().splitlines()
        places = [line.split()[4] for line in lines]
        assert places.count("/") == 1
        assert len(places) == len(set(places))
        assert (await box.run("ls", "/..")).stdout == (await box.run("ls", "/")).stdout


async def test_the_environment_of_the_zygote_is_empty(
    open_own: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    async with open_own() as box:
        zygote = box.engine._keeper._zygote.pid
        assert environment_of(zygote) == b"LC_ALL=C.UTF-8\0"


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can have groups to lose")
async def test_groups_of_the_server_are_lost(open_own: OpenBox) -> None:
    before = os.getgroups()
    os.setgroups([4, 24])
    try:
        async with open_own() as box:
            result = await box.run("grep", "Groups", "/proc/self/status")
            assert result.stdout.split() == [b"Groups:"]
    finally:
        os.setgroups(before)
