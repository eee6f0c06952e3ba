"""A live server, and both clients of it. At the end nothing of ours is left on the machine."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import glob
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandlot import Client
from sandlot.local import EmbeddedServer
from tests.colours import Colour
from tests.live.coding import Coding
from tests.live.world import Live, Server, Traces, is_alive, until
from tests.nursery import nursery, subprocess_of_servers
from tests.orphans import assert_no_orphans

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutine functions."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="package", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check that all these tests together leave no process, cgroup, mount or file behind.

    Temporary files go to a directory of their own, and orphans come to this process, so that
    whatever is left can be found.
    """
    if sys.platform != "linux":
        pytest.skip("isolated sandboxes need Linux")
    _ = tmp_path_factory.getbasetemp()  # pytest's own is to stay where it would be
    _ = nursery()  # it was there before
    place = Path(tempfile.mkdtemp(prefix="live-"))
    place.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SANDLOT_")]:
            patch.delenv(name)
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr("sandlot.local.subprocess", subprocess_of_servers)
        patch.setenv("SANDLOT_SERVER_WARM_ADAPT", "false")  # what is there is what was asked for
        libc = ctypes.CDLL(None)
        assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        groups = cgroups()
        yield
        until(lambda: not [pid for pid in processes() if pid not in before])
        _ = libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    assert list(place.iterdir()) == []
    assert str(place) not in Path("/proc/self/mounts").read_text()
    until(lambda: not abandoned(cgroups() - groups))  # others come and go meanwhile
    shutil.rmtree(place)


@pytest.fixture(autouse=True)
def no_orphans(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing stays behind of servers that a test has in its temporary directory."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    place: Path = request.getfixturevalue("tmp_path")
    yield
    assert_no_orphans(place)


@pytest.fixture(scope="package")
def embedded(nothing_left: None) -> Iterator[EmbeddedServer]:
    """The server that most tests share."""
    server = EmbeddedServer.start()
    traces = Traces.of(server._process.pid, server._log.parent)
    try:
        yield server
        traces = Traces.of(server._process.pid, server._log.parent)
    finally:
        server.close()
    until(lambda: not traces.left())
    assert not traces.data_dir.exists()


@pytest.fixture
def server(embedded: EmbeddedServer) -> Server:
    return Server(embedded.base_url, embedded.api_key, embedded._process.pid, embedded._log.parent)


@pytest.fixture(params=["blocking", "asyncio"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


@pytest.fixture
def live(colour: Colour, server: Server) -> Iterator[Live]:
    """The shared server in one colour; each test must leave it without sandboxes."""
    yield Live(colour, server)
    until(lambda: server.homes == [])


@pytest.fixture(scope="package")
def jupyter(nothing_left: None) -> Iterator[tuple[Server, str, str]]:
    """A server, a sandbox of it that runs code, and the id of a context there."""
    embedded = EmbeddedServer.start()
    server = Server(
        embedded.base_url, embedded.api_key, embedded._process.pid, embedded._log.parent
    )
    try:
        with (
            Client(server.api_key, base_url=server.base_url) as client,
            client.sandboxes.create("python-jupyter") as box,
        ):
            context = box.code.create_context()
            assert context.id is not None
            yield server, box.id, context.id
    finally:
        embedded.close()


@pytest.fixture
def coding(colour: Colour, jupyter: tuple[Server, str, str]) -> Coding:
    """A sandbox that runs code, in one colour."""
    return Coding(colour, *jupyter)


def processes() -> list[int]:
    """Return the descendants of this process that run, and take note of those that have ended."""
    alive: list[int] = []
    for child in psutil.Process().children(recursive=True):
        if is_alive(child):
            alive.append(child.pid)
        else:
            with contextlib.suppress(ChildProcessError):  # somebody else's, or taken note of
                _ = os.waitpid(child.pid, os.WNOHANG)
    return alive


def cgroups() -> set[Path]:
    # Unlike `Path.glob`, walking does not mind what goes away meanwhile.
    return {
        Path(place, name)
        for place, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith("sandlot-")
    }


def abandoned(groups: set[Path]) -> list[Path]:
    """Return the groups that no living engine knows: each holds the lock of its directory."""
    known = ""
    for descriptor in glob.iglob("/proc/[0-9]*/fd/*"):  # minds no more what goes away
        with contextlib.suppress(OSError):  # somebody else's, or closed meanwhile
            if (lock := Path(descriptor).readlink()).name == "lock":
                known += (lock.parent / "cgroups").read_text()
    return [group for group in groups if not any(name in known for name in group.parts[-2:])]
