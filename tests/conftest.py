"""What all tests share: coroutine functions are tests too, and no configuration leaks in.

With `pytest -n auto` they run side by side in several processes, except for those that are marked
`alone`.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Turns:
    """Who may run when tests run side by side: all together, or one that must be alone.

    Each passes the gate to get into the room and keeps the gate until it is in, so that one that
    must be alone is not kept waiting by newcomers. Locks on parts of a file end with their process,
    and what a test starts does not inherit them (fcntl_locking(2)).
    """

    _GATE, _ROOM = 0, 1

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR)

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn and take it."""
        self._lock(self._GATE, fcntl.LOCK_EX)
        try:
            self._lock(self._ROOM, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            self._lock(self._GATE, fcntl.LOCK_UN)
        try:
            yield
        finally:
            self._lock(self._ROOM, fcntl.LOCK_UN)

    def _lock(self, part: int, kind: int) -> None:
        fcntl.lockf(self._file, kind, 1, part)


_AT_A_TIME = 8
_LONGEST = ("tests/server/engine/test_crashes.py", "tests/live/", "tests/examples/", "tests/local/")
"""What takes long begins first, so that at the end no process is left alone with it."""

_turns_file = pytest.StashKey[str]()
_turns = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    # Whatever starts programs in the background has them ignore it, and what they start as well.
    _ = signal.signal(signal.SIGINT, signal.default_int_handler)
    if (told := getattr(config, "workerinput", None)) is not None:
        config.stash[_turns] = Turns(told["turns"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process that runs tests where it meets the others."""
    if _turns_file not in node.config.stash:
        descriptor, node.config.stash[_turns_file] = tempfile.mkstemp(prefix="sandlot-turns-")
        os.close(descriptor)
    node.workerinput["turns"] = node.config.stash[_turns_file]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return two for each processor: half of the time tests wait for something."""
    return min(2 * len(os.sched_getaffinity(0)), _AT_A_TIME)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; otherwise the order stays."""

    def rank(item: pytest.Item) -> int:
        return next((i for i, each in enumerate(_LONGEST) if item.nodeid.startswith(each)), 99)

    items.sort(key=rank)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (path := config.stash.get(_turns_file, None)) is not None:
        os.unlink(path)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, with all that it sets up, in its turn. Waiting does not count as its time."""
    if (turns := item.config.stash.get(_turns, None)) is None:
        return (yield)
    with turns.take(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutine functions."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide this machine's configuration; return the directory that takes its place."""
    for name in [name for name in os.environ if name.startswith("SANDLOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SANDLOT_HOME", str(tmp_path))
    return tmp_path
