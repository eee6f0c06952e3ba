"""What of this machine sandboxes can use."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from sandlot.server.engine.local.machine import describe_machine, find_limits


def groups(tmp_path: Path, *, version: int) -> Path:
    """Make a process that is in the group /outer/inner, of which /outer is what can be seen."""
    process, mount = tmp_path / "process", tmp_path / "mount"
    (mount / "inner").mkdir(parents=True)
    process.mkdir()
    if version == 2:
        kind, names, options = "cgroup2", "", "rw"
    else:
        kind, names, options = "cgroup", "cpu,memory", "rw,cpu,memory"
    (process / "cgroup").write_text(f"7:{names}:/outer/inner\n")
    line = f"30 25 0:26 /outer {mount} rw,nosuid shared:4 - {kind} none {options}\n"
    (process / "mountinfo").write_text(f"25 1 8:1 / / rw - ext4 /dev/sda1 rw\n{line}")
    return process


@pytest.mark.parametrize(
    ("version", "files", "limits"),
    [
        (2, {}, (None, None)),
        (2, {"memory.max": "max", "cpu.max": "max 100000"}, (None, None)),
        (2, {"inner/memory.max": "1048576", "inner/cpu.max": "150000 100000"}, (1.5, 1048576)),
        (2, {"memory.max": "4096", "inner/memory.max": "8192"}, (None, 4096)),
        (2, {"cpu.max": "50000 100000", "inner/cpu.max": "200000 100000"}, (0.5, None)),
        (1, {"inner/memory.limit_in_bytes": "8192"}, (None, 8192)),
        (1, {"inner/cpu.cfs_quota_us": "-1", "inner/cpu.cfs_period_us": "100000"}, (None, None)),
        (1, {"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}, (3.0, None)),
    ],
)
def test_groups_around_count(
    tmp_path: Path, version: int, files: dict[str, str], limits: tuple[float | None, int | None]
) -> None:
    process = groups(tmp_path, version=version)
    for name, text in files.items():
        (tmp_path / "mount" / name).write_text(f"{text}\n")
    assert find_limits(process) == limits


def test_machines_without_groups(tmp_path: Path) -> None:
    assert find_limits(tmp_path) == (None, None)
    node = describe_machine(tmp_path, tmp_path)
    assert node.cpu_cores == len(os.sched_getaffinity(0))
    assert node.memory_mb == psutil.virtual_memory().total >> 20
    assert node.disk_gb == psutil.disk_usage(str(tmp_path)).total >> 30
    assert node.arch == os.uname().machine
    assert node.address == os.uname().nodename


def test_what_a_group_leaves_is_all_there_is(tmp_path: Path) -> None:
    process = groups(tmp_path, version=2)
    (tmp_path / "mount" / "memory.max").write_text("134217728\n")
    (tmp_path / "mount" / "cpu.max").write_text("25000 100000\n")
    node = describe_machine(tmp_path, process)
    assert (node.cpu_cores, node.memory_mb) == (1, 128)


def test_what_cannot_be_told_apart_from_no_limit(tmp_path: Path) -> None:
    """Version 1 says a number near 2**63 where there is none."""
    process = groups(tmp_path, version=1)
    (tmp_path / "mount" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    node = describe_machine(tmp_path, process)
    assert node.memory_mb == psutil.virtual_memory().total >> 20
