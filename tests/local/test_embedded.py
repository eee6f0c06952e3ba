"""The embedded server, with a real server process: its life is bound to its owner's."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import psutil
import pytest

from sandlot import Client
from sandlot.errors import LocalServerError
from sandlot.local import EmbeddedServer

OWNER = """
    import json, sys
    from sandlot import Client

    client = Client.local()
    sandbox = client.sandboxes.create()
    with sandbox.exec_stream("sleep 600") as stream:
        _ = next(iter(stream))
        server = client._transport._local._server
        told = {"pid": server._process.pid, "place": str(server._log.parent)}
        print(json.dumps(told), flush=True)
        %s
"""


def own(then: str) -> tuple[subprocess.Popen[str], dict[str, object]]:
    """Start a process that owns a server with a busy sandbox; return it and what it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER) % then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def gone(pids: list[int], place: Path, within: float = 20) -> bool:
    """Wait until processes and a directory have disappeared."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if psutil.pid_exists(pid) and not is_zombie(pid)]
        if not alive and not place.exists():
            return True
        time.sleep(0.02)  # polls for other processes' ends, which nothing announces
    return False


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def cgroups(pids: list[int]) -> set[str]:
    """Names of the control groups that the server of these processes made."""
    texts = [Path(f"/proc/{pid}/cgroup").read_text() for pid in pids]
    return {name for text in texts for name in re.findall(r"sandlot-[0-9a-f]+", text)}


def remaining(names: set[str]) -> list[Path]:
    """Those control groups that are still there."""
    places = os.walk("/sys/fs/cgroup")  # unlike `Path.glob`, it does not mind what goes away
    return [Path(place, name) for place, found, _ in places for name in names & set(found)]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
def test_dies_with_its_owner(number: signal.Signals) -> None:
    process, told = own("sys.stdin.read()")
    place = Path(str(told["place"]))
    pids = family(int(str(told["pid"])))
    assert len(pids) >= 3, "server, zygote and sandbox"
    groups = cgroups(pids)
    process.send_signal(number)
    _ = process.wait(timeout=20)
    assert gone(pids, place)
    assert remaining(groups) == []
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def test_dies_with_its_owner_although_a_fork_of_the_owner_lives() -> None:
    tell = "(pid := os.fork()) and print(pid, flush=True)"
    process, told = own(f"import os; {tell}; sys.stdin.read()")
    assert process.stdout is not None
    fork = int(process.stdout.readline())
    pids = family(int(str(told["pid"])))
    process.send_signal(signal.SIGKILL)
    _ = process.wait(timeout=20)
    try:
        assert gone(pids, Path(str(told["place"])))
    finally:
        os.kill(fork, signal.SIGKILL)  # before its input ends, which ends it too
        assert process.stdin is not None
        process.stdin.close()
        process.stdout.close()


def test_ends_with_an_owner_that_forgets_to_close_it() -> None:
    process, told = own("sys.exit(0)")
    pids = [int(str(told["pid"]))]
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert gone(pids, Path(str(told["place"])))


def test_survives_what_a_fork_does_to_its_copy() -> None:
    with Client.local() as client:
        pid = os.fork()
        if pid == 0:
            try:
                client._transport._local._server.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert client.health().status == "ok"


def test_everything_of_both_killed_at_once_leaves_nothing() -> None:
    process, told = own("sys.stdin.read()")
    server = int(str(told["pid"]))
    pids = family(server)
    groups = cgroups(pids)
    os.kill(process.pid, signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    _ = process.wait(timeout=20)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    assert gone(pids, Path(str(told["place"])))
    assert remaining(groups) == []


def test_keeps_its_key_to_itself() -> None:
    server = EmbeddedServer.start()
    try:
        place = server._log.parent
        assert stat.S_IMODE(place.stat().st_mode) & 0o077 & ~0o011 == 0
        key = server.api_key.encode()
        for pid in family(server._process.pid):
            for name in ("cmdline", "environ"):
                assert key not in Path(f"/proc/{pid}/{name}").read_bytes()
        for path in place.rglob("*"):
            if path.is_file():
                assert key not in path.read_bytes(), path
        assert server.api_key not in repr(server)
        url = f"{server.base_url}/v1/sandboxes"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"X-API-Key": "wrn_" + "0" * 32}).status_code == 401
        assert httpx.get(url, headers={"X-API-Key": server.api_key}).status_code == 200
    finally:
        server.close()


def test_closing_takes_everything_along_and_may_be_repeated() -> None:
    server = EmbeddedServer.start()
    place = server._log.parent
    pids = family(server._process.pid)
    groups = cgroups(pids)
    server.close()
    server.close()
    assert gone(pids, place, within=1)
    assert remaining(groups) == []
    assert "closed" in str(server.explain_loss())


def test_a_kept_data_directory_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with Client.local(data_dir=place) as client:
        sandbox_id = client.sandboxes.create(name="mine").id
    with Client.local(data_dir=place) as client:
        sandbox = client.sandboxes.get(sandbox_id)
        assert (sandbox.name, sandbox.status) == ("mine", "stopped")
        assert list(client.sandboxes.list()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "docker"}, "no engine 'docker'"),
        ({"data_dir": "/proc/nowhere"}, "cannot be used"),
        ({"data_dir": ""}, "data_dir is empty"),
    ],
    ids=["engine", "directory", "no directory"],
)
def test_says_what_is_wrong(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(LocalServerError, match=message):
        _ = EmbeddedServer.start(**arguments)


def test_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LocalServerError, match="need Linux"):
        _ = EmbeddedServer.start()


def test_needs_the_server_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandlot.local.importlib.util.find_spec", lambda name: None)
    with pytest.raises(LocalServerError, match=r"pip install 'sandlot\[server\]'"):
        _ = EmbeddedServer.start()


def test_a_server_that_is_too_slow_is_given_up() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(LocalServerError, match=r"not ready after 0\.01 s"):
        _ = EmbeddedServer.start(start_timeout=0.01)
    assert {child.pid for child in psutil.Process().children()} <= before


def test_tells_why_it_died() -> None:
    server = EmbeddedServer.start()
    assert server.explain_loss() is None
    os.kill(server._process.pid, signal.SIGKILL)
    _ = server._process.wait(timeout=10)
    assert "was killed by SIGKILL" in str(server.explain_loss())
    place = server._log.parent
    server.close()
    assert not place.exists()


IN_USER_NAMESPACE = """
    import ctypes, os, sys
    from pathlib import Path
    from sandlot import Client
    from sandlot.errors import LocalServerError

    # The parent, which has the rights to, says which users there are in the child's namespace.
    ready, told = os.pipe()
    mapped, done = os.pipe()
    child = os.fork()
    if child:
        assert os.read(ready, 1)
        Path(f"/proc/{child}/setgroups").write_text("deny" if os.getuid() else "allow")
        Path(f"/proc/{child}/uid_map").write_text(f"0 {os.getuid()} {sys.argv[1]}")
        Path(f"/proc/{child}/gid_map").write_text(f"0 {os.getgid()} {sys.argv[1]}")
        assert os.write(done, b"1")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    assert os.write(told, b"1")
    assert os.read(mapped, 1)
    if sys.argv[2] != "any":
        Path("/proc/sys/user/max_user_namespaces").write_text(sys.argv[2])
    try:
        with Client.local() as client, client.sandboxes.create() as sandbox:
            print(client.capabilities().isolation.level, sandbox.exec("id -u", check=True).stdout)
    except LocalServerError as exc:
        print(exc)
"""


def in_user_namespace(users: int, namespaces: str) -> str:
    """Start a server where there are so many users, and so many further namespaces allowed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(IN_USER_NAMESPACE), str(users), namespaces],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_without_user_namespaces_it_refuses_to_run() -> None:
    said = in_user_namespace(1 if os.getuid() else 2**32 - 1, "0")
    assert "namespace" in said
    assert "engine='process'" in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hand out user ids")
def test_root_of_a_container_with_few_user_ids_has_private_ones() -> None:
    assert in_user_namespace(65536, "any") == "full 1000\n\n"
