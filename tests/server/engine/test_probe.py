"""What people are told where sandboxes cannot be made."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sandlot
from sandlot.server.engine import make_engine
from sandlot.server.engine.base import EngineError, EngineUnavailableError
from sandlot.server.engine.local import LocalEngine, probe
from sandlot.server.engine.local.agent import AgentStartError
from sandlot.server.engine.process import ProcessEngine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings of the kernel; not in a container, not root."""
    settings: dict[str, str] = {}
    monkeypatch.setattr(probe, "_setting", settings.get)
    monkeypatch.setattr(probe, "_is_in_container", lambda: "container" in settings)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    return settings


def advice(call: str, number: int) -> str:
    return probe.explain(AgentStartError(call, number, os.strerror(number)))


def test_user_namespaces_switched_off(machine: dict[str, str]) -> None:
    machine["user/max_user_namespaces"] = "0"
    assert "sysctl user.max_user_namespaces" in advice("unshare", errno.ENOSPC)
    machine.clear()
    machine["kernel/unprivileged_userns_clone"] = "0"
    assert "sysctl kernel.unprivileged_userns_clone=1" in advice("unshare", errno.EPERM)


def test_container(machine: dict[str, str]) -> None:
    machine["container"] = "yes"
    assert "--security-opt seccomp=unconfined" in advice("unshare", errno.EPERM)
    assert "systempaths=unconfined" in advice("mount proc on proc", errno.EPERM)


def test_apparmor(machine: dict[str, str]) -> None:
    machine["kernel/apparmor_restrict_unprivileged_userns"] = "1"
    for call in ("unshare", "mount on /", "mount tmpfs on /tmp"):
        assert "kernel.apparmor_restrict_unprivileged_userns=0" in advice(call, errno.EACCES)


def test_old_kernel(machine: dict[str, str]) -> None:
    assert "5.12" in advice("mount_setattr usr", errno.ENOSYS)


def test_everything_names_the_call_and_the_error(machine: dict[str, str]) -> None:
    text = advice("sethostname", errno.EIO)
    assert "sethostname" in text
    assert "Input/output error" in text


NO_NAMESPACES_LEFT = """
import asyncio, os, sys
from pathlib import Path
from sandlot.server.engine.base import EngineUnavailableError
from sandlot.server.engine.local import LocalEngine
from sandlot.server.guest import kernel

uid = os.getuid()
kernel.unshare(kernel.CLONE_NEWUSER)
for name, value in ("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"):
    Path("/proc/self", name).write_text(value)
Path("/proc/sys/user/max_user_namespaces").write_text("0")
try:
    asyncio.run(LocalEngine(Path(sys.argv[1])).start())
except EngineUnavailableError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux")
def test_failure_in_the_guest_reaches_the_caller(tmp_path: Path) -> None:
    """In a user namespace that may have none below it, no sandbox can be made."""
    done = subprocess.run(
        [sys.executable, "-c", NO_NAMESPACES_LEFT, str(tmp_path / "data")],
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(sandlot.__file__).parent.parent)},
        stdout=subprocess.PIPE,
        check=True,
    )
    text = done.stdout.decode()
    assert "unshare: No space left on device" in text
    assert "sysctl user.max_user_namespaces" in text
    assert os.listdir(tmp_path / "data") == ["lock"]


def test_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EngineUnavailableError, match="Linux"):
        asyncio.run(LocalEngine(tmp_path).start())


def test_names(tmp_path: Path) -> None:
    assert isinstance(make_engine("auto", tmp_path), LocalEngine)
    assert isinstance(make_engine("local", tmp_path), LocalEngine)
    assert isinstance(make_engine("process", tmp_path), ProcessEngine)
    with pytest.raises(EngineError, match="there is no engine 'docker'"):
        _ = make_engine("docker", tmp_path)
