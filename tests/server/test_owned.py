"""The server that belongs to another process: its side of the conversation with the owner."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from harness import KEY, PATIENCE


class Owned:
    """A server, from its owner's side."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sandlot.server", "--embedded-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
                env={**os.environ, **(environment or {})},
            )

    def say(self, **configuration: Any) -> None:
        self.socket.sendall(json.dumps(configuration).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        with self.socket.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
            return answer

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read().decode()
        self.process.stderr.close()
        return code


@pytest.fixture
def owned() -> Iterator[Owned]:
    owned = Owned()
    yield owned
    owned.socket.close()
    if owned.process.poll() is None:
        owned.process.kill()
        _ = owned.wait()


def configuration(path: Path, **others: Any) -> dict[str, Any]:
    return {
        "api_key": KEY,
        "data_dir": str(path / "data"),
        "engine": "auto",
        "ephemeral": True,
        "owner_pid": os.getpid(),
        **others,
    }


def test_serves_until_the_owner_hangs_up(owned: Owned, tmp_path: Path) -> None:
    owned.say(**configuration(tmp_path), unknown=1)
    port = owned.hear()["ready"]["port"]
    url = f"http://127.0.0.1:{port}/v1/sandboxes"
    assert httpx.get(url).status_code == 401
    assert httpx.post(url, json={}, headers={"X-API-Key": KEY}).status_code == 201
    children = psutil.Process(owned.process.pid).children(recursive=True)
    assert children
    owned.socket.close()
    assert owned.wait() == 0
    assert owned.errors == ""
    assert not psutil.wait_procs(children, PATIENCE)[1]
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_nowhere_to_be_read(owned: Owned, tmp_path: Path) -> None:
    owned.say(**configuration(tmp_path, ephemeral=False))
    _ = owned.hear()["ready"]
    process = Path(f"/proc/{owned.process.pid}")
    for name in ("cmdline", "environ"):
        assert KEY.encode() not in (process / name).read_bytes()
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_nobody_else_can_read_what_it_writes(owned: Owned, tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir(mode=0o755)  # its owner's, and so left as it is
    owned.say(**configuration(tmp_path, ephemeral=False))
    _ = owned.hear()["ready"]
    names = {path.name for path in place.iterdir() if path.stat().st_mode & 0o077}
    assert names == set()
    assert (place / "sandlot.db").exists()


def test_takes_the_descriptors_that_it_may_have(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        owned = Owned()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    owned.say(**configuration(tmp_path))
    _ = owned.hear()["ready"]
    limits = psutil.Process(owned.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert limits == (min(hard % (1 << 64), 1 << 16), hard)
    owned.socket.close()
    assert owned.wait() == 0


def test_ends_with_its_owner_even_if_the_socket_stays_open(owned: Owned, tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "1000"])
    owned.say(**configuration(tmp_path, owner_pid=owner.pid))
    _ = owned.hear()["ready"]
    assert not select.select([owned.process.stderr], [], [], 0)[0]
    owner.kill()
    _ = owner.wait()
    assert owned.wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_an_owner_that_leaves_early(owned: Owned, tmp_path: Path) -> None:
    owned.say(**configuration(tmp_path))
    owned.socket.close()
    assert owned.wait() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b"{}\n", b""])
def test_configurations_that_make_no_sense(owned: Owned, line: bytes) -> None:
    owned.socket.sendall(line)
    owned.socket.shutdown(socket.SHUT_WR)
    assert owned.hear()["error"]["code"] == "invalid_configuration"
    assert owned.wait() == 1
    assert KEY not in owned.errors


def test_what_cannot_start_says_why(owned: Owned, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a directory")
    owned.say(**configuration(tmp_path))
    error = owned.hear()["error"]
    assert error["code"] == "data_dir_unavailable"
    assert str(tmp_path / "data") in error["message"]
    assert owned.wait() == 1
    assert "Traceback" not in owned.errors


def test_a_directory_in_use_says_so(owned: Owned, tmp_path: Path) -> None:
    owned.say(**configuration(tmp_path))
    _ = owned.hear()["ready"]
    other = Owned()
    other.say(**configuration(tmp_path))
    assert other.hear()["error"]["code"] == "data_dir_unavailable"
    assert other.wait() == 1
    other.socket.close()


def test_the_environment_configures_the_rest(tmp_path: Path) -> None:
    owned = Owned({"SANDLOT_SERVER_MAX_OUTPUT_BYTES": "77", "SANDLOT_SERVER_HOST": "0.0.0.0"})
    owned.say(**configuration(tmp_path))
    port = owned.hear()["ready"]["port"]
    url = f"http://127.0.0.1:{port}/v1/capabilities"
    limits = httpx.get(url, headers={"X-API-Key": KEY}).json()["limits"]
    assert limits["max_output_bytes"] == 77
    listening = psutil.Process(owned.process.pid).net_connections("tcp")
    assert {connection.laddr[0] for connection in listening} == {"127.0.0.1"}
    owned.socket.close()
    assert owned.wait() == 0
