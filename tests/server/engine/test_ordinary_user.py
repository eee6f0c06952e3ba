"""A server without any rights: the same walls, by other means."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import sandlot
from tests.interpreters import open_to_all

from .conftest import eventually
from .exhaustion import ATTACKS, faults
from .outside import own_address, serving
from .test_isolation import attempt_names

HERE = Path(__file__).parent
USER = 64_999

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="only root can become somebody else; the other tests are run by an ordinary user then",
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that the user owns, with a copy of what is to be run."""
    with tempfile.TemporaryDirectory(prefix="sandlot-") as name:
        place = Path(name)
        package = Path(sandlot.__file__).parent
        shutil.copytree(
            package, place / "src/sandlot", ignore=shutil.ignore_patterns("__pycache__")
        )
        programs = ("ordinary.py", "owner.py", "successor.py", "escapes.py", "exhaustion.py")
        for program in programs:
            _ = shutil.copy(HERE / program, place / program)
        os.chown(place, USER, USER)
        yield place


@pytest.fixture(scope="module")
def python() -> str:
    return open_to_all()


def start(python: str, place: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [python, str(place / program), *arguments],
        env={"PATH": os.defpath, "PYTHONPATH": str(place / "src")},
        cwd="/",
        stdout=subprocess.PIPE,
        user=USER,
        group=USER,
        extra_groups=[],
    )


@pytest.fixture(scope="module")
def found(python: str, place: Path) -> Mapping[str, object]:
    address = own_address() or "127.0.0.1"
    arguments = [str(place / "data"), str(place / "escapes.py"), address]
    with (
        serving(address, lambda peer: peer.sendall(b"out")) as port,
        start(python, place, "ordinary.py", *arguments, str(port)) as run,
    ):
        output, _ = run.communicate()
    assert run.returncode == 0
    return json.loads(output)


def test_the_sandbox_works(found: Mapping[str, object]) -> None:
    assert found["level"] == "full"
    assert found["id"] == [0, None, "uid=1000(user) gid=1000(user) groups=1000(user)\n"]
    assert found["private_uid"] is False
    copy, out = ["a", "a/f"], ["a", "a/f", "b", "b/f"]
    expected = [f"copy/{name}" for name in copy] + [f"out/{name}" for name in out]
    assert found["tree"] == [f"/home/user/{path}" for path in expected]


@pytest.mark.parametrize("name", attempt_names())
def test_no_way_out(found: Mapping[str, Mapping[str, str | None]], name: str) -> None:
    assert found["escapes"][name] is not None, f"{name.replace('_', ' ')}: possible"


def test_limits(found: Mapping[str, object]) -> None:
    assert (found["memory"], found["pids"]) == ("watchdog", "rlimit")
    assert 400 < int(str(found["bomb"])) <= 512
    assert found["neighbour"] == [0, None, "alive\n"]
    assert found["hog"] == 1


@pytest.fixture(scope="module")
def exhausted(python: str, place: Path) -> Mapping[str, Mapping[str, object]]:
    with start(python, place, "exhaustion.py", str(place / "exhaustion")) as run:
        output, _ = run.communicate()
    assert run.returncode == 0
    return json.loads(output)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ATTACKS)
def test_exhaustion(exhausted: Mapping[str, dict[str, object]], name: str) -> None:
    assert faults(name, exhausted[name]) == [], exhausted[name]


def test_pause(found: Mapping[str, object]) -> None:
    assert found["pause"] == "stop"
    assert found["paused"] is True
    assert found["resumed"] == "S"


@pytest.mark.skipif(own_address() is None, reason="this machine has no address to serve on")
def test_the_way_out(found: Mapping[str, object]) -> None:
    assert found["network"] == ["none", "outbound"]
    assert found["reached"] == [0, None, "out\nTrue\nTrue\n"]


def test_snapshots(found: Mapping[str, object]) -> None:
    seen = "a\n1\n0\n1\n"
    changes = [["modified", "a"], ["added", "b"], ["modified", "c"], ["deleted", "d/1"]]
    assert found["snapshots"] == ["overlay", [True, seen, changes, seen, seen, []]]


def test_nothing_is_left(found: Mapping[str, object]) -> None:
    assert found["left"] == ["other"]
    assert found["after"] == [["lock"], []]


@pytest.mark.parametrize("state", ["running", "paused", "creating"])
def test_killed_server(python: str, place: Path, state: str) -> None:
    data_dir = place / f"data-{state}"
    with start(
        python, place, "owner.py", "local", str(data_dir), "ephemeral", state, "86403"
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"there\n"
        owner.kill()
    asyncio.run(eventually(lambda: not data_dir.exists()))


def test_sandboxes_outlive_a_killed_engine(python: str, place: Path) -> None:
    with start(python, place, "successor.py", str(place / "data-lives")) as run:
        output, _ = run.communicate()
    assert run.returncode == 0
    found = json.loads(output)
    assert found["ids"] == ["paused", "running"]
    assert found["file"] == "kept\n"
    assert "sleep 600" in found["commands"]
    assert "sleep 601" not in found["commands"]
    assert found["still"] is True
    assert found["goes on"] == "yes\n"
    assert found["after"] == ["lock"]
