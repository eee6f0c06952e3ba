"""Where control groups can be made, and what is written to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sandlot.server.engine.base import EngineError
from sandlot.server.engine.local import group as group_module
from sandlot.server.engine.local.cgroups import Cgroups, Place, find_places
from sandlot.server.engine.local.group import Group, GroupPart

LINE = "30 25 0:26 {root} {mount} rw,nosuid shared:9 - {kind} {source} {options}\n"


def mounted(mount: str, kind: str, options: str = "rw", root: str = "/") -> str:
    return LINE.format(root=root, mount=mount, kind=kind, source="cgroup", options=options)


def test_version_2() -> None:
    places = find_places(mounted("/sys/fs/cgroup", "cgroup2"), "0::/user.slice/session.scope\n")
    assert [str(place.parent) for place in places] == [
        "/sys/fs/cgroup/user.slice/session.scope",
        "/sys/fs/cgroup/user.slice",
        "/sys/fs/cgroup",
    ]
    assert {place.version for place in places} == {2}


def test_version_1_with_controllers_mounted_together() -> None:
    mountinfo = (
        mounted("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
        + mounted("/sys/fs/cgroup/memory", "cgroup", "rw,memory")
        + mounted("/sys/fs/cgroup/devices", "cgroup", "rw,devices")
        + mounted("/tmp", "tmpfs", "rw,memory")
    )
    places = find_places(mountinfo, "3:devices:/\n2:cpu,cpuacct:/a/b\n1:memory:/c\n1:name=x:/\n")
    assert places == [
        Place(Path("/sys/fs/cgroup/cpu,cpuacct/a/b"), 1, frozenset({"cpu", "cpuacct"})),
        Place(Path("/sys/fs/cgroup/memory/c"), 1, frozenset({"memory"})),
    ]


def test_container_that_sees_a_part_of_the_hierarchy() -> None:
    mountinfo = mounted("/sys/fs/cgroup/pids", "cgroup", "rw,pids", root="/docker/abc")
    (place,) = find_places(mountinfo, "5:pids:/docker/abc\n")
    assert place.parent == Path("/sys/fs/cgroup/pids")
    (place,) = find_places(mountinfo, "5:pids:/elsewhere\n")
    assert place.parent == Path("/sys/fs/cgroup/pids")


def test_nothing_mounted() -> None:
    assert find_places("", "") == []
    assert find_places(mounted("/", "ext4"), "0::/\n") == []


def fake_part(tmp_path: Path, version: int, *controllers: str) -> GroupPart:
    return GroupPart(tmp_path / f"v{version}", version, frozenset(controllers))


def limited(part: GroupPart) -> dict[str, str]:
    """Return what setting limits writes into a group."""
    part.path.mkdir()
    Group([part]).limit(memory_mb=64, processes=100, vcpus=2)
    return {file.name: file.read_text() for file in part.path.iterdir()}


def test_limits_of_version_1(tmp_path: Path) -> None:
    assert limited(fake_part(tmp_path, 1, "memory", "pids", "cpu", "cpuacct")) == {
        "memory.limit_in_bytes": "67108864",
        "memory.memsw.limit_in_bytes": "67108864",
        "memory.kmem.tcp.limit_in_bytes": "16777216",
        "pids.max": "100",
        "cpu.cfs_quota_us": "200000",
    }


def test_limits_of_version_2(tmp_path: Path) -> None:
    assert limited(fake_part(tmp_path, 2, "memory", "pids", "cpu", "freeze")) == {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "pids.max": "100",
        "cpu.max": "200000 100000",
    }


def test_no_limits_without_controllers(tmp_path: Path) -> None:
    assert limited(fake_part(tmp_path, 2, "freeze")) == {}


def test_meter_of_version_2(tmp_path: Path) -> None:
    part = fake_part(tmp_path, 2, "memory", "pids", "cpu", "freeze")
    part.path.mkdir()
    _ = (part.path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    _ = (part.path / "memory.current").write_text("1000\n")
    _ = (part.path / "memory.stat").write_text("anon 5\ninactive_file 400\n")
    group = Group([part])
    assert (group.measure_cpu(), group.measure_memory()) == (1.5, 600)


def test_meter_of_version_1(tmp_path: Path) -> None:
    part = fake_part(tmp_path, 1, "memory", "cpuacct")
    part.path.mkdir()
    _ = (part.path / "cpuacct.usage").write_text("2500000000\n")
    _ = (part.path / "memory.usage_in_bytes").write_text("1000\n")
    _ = (part.path / "memory.stat").write_text("cache 5\ntotal_inactive_file 1400\n")
    group = Group([part])
    assert (group.measure_cpu(), group.measure_memory()) == (2.5, 0)


def test_freezing_that_does_not_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "_PATIENCE", 0.02)
    part = fake_part(tmp_path, 2, "freeze")
    part.path.mkdir()
    _ = (part.path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(EngineError):
        asyncio.run(Group([part]).freeze())
    assert (part.path / "cgroup.freeze").read_text() == "0"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    places = [
        Place(tmp_path / "missing", 1, frozenset({"memory"})),
        Place(tmp_path / "missing", 2, frozenset({"memory"})),
    ]
    cgroups = Cgroups("name", places)
    assert cgroups.controllers == frozenset()
    assert cgroups.directories == []
    assert cgroups.make("box") is None
