"""What sandboxes share of their roots, and that nothing passes through it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import OpenBox, spec

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="only root of Linux shares roots"
)

_PROGRAM = """
import os, sys
from pathlib import Path
from sandlot.server.guest import kernel
from sandlot.server.guest.mounts import Layout
from sandlot.server.guest.roots import Roots

MS_SHARED = 1 << 20

def layout(number=0, environment=None):
    return Layout(64, True, None, environment, {}, {"resolv.conf": f"# {number}\\n"})

def places():
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {fields[4]: fields for fields in lines if fields[4].startswith("/dev/pts/")}

kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount(None, "/", None, kernel.MS_REC | MS_SHARED)
"""


def run(program: str, *arguments: object) -> None:
    """Run a program in a mount namespace of its own, whose mounts are shared as a system's are."""
    command = [sys.executable, "-c", _PROGRAM + program, *map(str, arguments)]
    _ = subprocess.run(command, check=True, timeout=60)


async def test_all_of_a_root_is_read_only_but_what_a_sandbox_has_for_itself(
    open_box: OpenBox,
) -> None:
    own = {"/home/user", "/tmp", "/proc"}
    async with open_box() as box:
        lines = (await box.run("cat", "/proc/self/mountinfo")).stdout.decode().splitlines()
        fields = [line.split() for line in lines]
        shared = {
            line[4]: set(line[5].split(","))
            for line in fields
            if line[4] not in own and not line[4].startswith(("/proc/", "/dev"))
        }
        assert {"/", "/usr", "/etc/ld.so.cache"} <= shared.keys()
        assert all(options >= {"ro", "nosuid", "nodev"} for options in shared.values())
        (devices,) = [line[5].split(",") for line in fields if line[4] == "/dev"]
        assert "ro" in devices
        assert all(line[6] == "-" for line in fields), "something would come in from outside"


async def test_sandboxes_of_one_root_have_memory_and_terminals_of_their_own(
    open_box: OpenBox,
) -> None:
    async with open_box() as box:
        other = await box.engine.create(spec("other"))
        another = type(box)(box.engine, other, box.data_dir)
        script = "echo mine > /tmp/file; echo mine > /dev/shm/file; echo mine > ~/file"
        _ = await box.shell(script)
        listing = await another.shell("ls -A /tmp /dev/shm ~; stat -c %d /tmp /dev/shm /dev/pts")
        *names, tmp, memory, terminals = listing.stdout.decode().split("\n")[:-1]
        assert "file" not in names
        mine = (await box.shell("stat -c %d /tmp /dev/shm /dev/pts")).stdout.decode().split()
        assert not {tmp, memory, terminals} & set(mine)


def test_the_host_sees_nothing_of_the_stage_and_the_stage_sees_no_more_of_the_host() -> None:
    run("""
pid = os.fork()
if pid == 0:
    assert Roots().find(layout()) == "/dev/pts/0"
    assert {"/dev/pts/0", "/dev/pts/0/usr"} <= places().keys()
    for fields in places().values():
        assert fields[6] == "-", fields
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert not places()
""")


def test_a_few_roots_are_kept() -> None:
    run("""
roots = Roots()
first = roots.find(layout(0))
assert roots.find(layout(0)) == first
paths = [roots.find(layout(number)) for number in range(10)]
assert len(set(paths)) == 10
present = [name for name in os.listdir("/dev/pts")]
assert sorted(present) == [str(number) for number in range(2, 10)], present
assert Path(f"{paths[9]}/etc/resolv.conf").read_text() == "# 9\\n"
assert roots.find(layout(0)) not in paths
""")


def test_what_is_exchanged_on_the_host_is_seen(tmp_path: Path) -> None:
    run(
        """
place = Path(sys.argv[1])
(place / "before").mkdir()
(place / "before/old").touch()
roots = Roots()
path = roots.find(layout(environment=str(place / "before")))
(place / "before").rename(place / "gone")
(place / "before").mkdir()
(place / "before/new").touch()
again = roots.find(layout(environment=str(place / "before")))
assert again != path
assert os.listdir(f"{again}/opt/jupyter") == ["new"]
""",
        tmp_path,
    )


def test_without_a_stage_each_sandbox_makes_its_own() -> None:
    run("""
kernel.drop_capabilities()
assert Roots().find(layout()) is None
""")
