"""Making a sandbox, cold and prepared, against other ways to run a command apart from its host."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import rivals
from benchmarks.processes import parts
from benchmarks.report import Row
from sandlot import Client, Sandbox
from sandlot.server.engine.base import SandboxSpec
from sandlot.server.engine.local import LocalEngine

ROUNDS = 30
PATIENCE = 60.0
_SPEC = SandboxSpec("any", "minimal", 1, 512, 5120)
_WITH_ONE_PREPARED = 2
"""Processes: the zygote, and the first one of the sandbox."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that is timed, with what comes before and after it each time."""

    name: str
    action: Callable[[], object]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


class Engine:
    """An engine without a server, driven from outside of its event loop."""

    def __init__(self, runner: asyncio.Runner, directory: str, *prepared: SandboxSpec) -> None:
        self._runner = runner
        self._engine = LocalEngine(Path(directory) / "data", warm=prepared)
        runner.run(self._engine.start())

    def create(self) -> None:
        """Make a sandbox; there is one at a time."""
        _ = self._runner.run(self._engine.create(replace(_SPEC, id="box")))

    def destroy(self) -> None:
        """Remove it."""
        self._runner.run(self._engine.destroy("box"))

    def wait_prepared(self) -> None:
        """Wait until a sandbox is prepared."""
        self._runner.run(self._wait_prepared())

    def close(self) -> None:
        """Remove everything."""
        self._runner.run(self._engine.close())

    async def _wait_prepared(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                if self._engine.prepared:
                    return
                await asyncio.sleep(0.01)


class Remote:
    """A server of one's own, over HTTP."""

    def __init__(self, **options: int) -> None:
        before = {process.pid for process in parts()["agent"]}
        self._client = Client.local(warm=options)
        self._made: list[Sandbox] = []
        self._others = before

    def create(self) -> None:
        """Make a sandbox."""
        self._made.append(self._client.sandboxes.create())

    def destroy(self) -> None:
        """Remove it."""
        self._made.pop().destroy()

    def call(self) -> None:
        """Call the server without asking for anything."""
        _ = self._client.health()

    def execute(self) -> None:
        """Run `true` in the sandbox made last."""
        _ = self._made[-1].exec(["true"], check=True)

    def wait_prepared(self) -> None:
        """Wait until a sandbox is prepared: a process besides the zygote."""
        deadline = time.monotonic() + PATIENCE
        while len({each.pid for each in parts()["agent"]} - self._others) < _WITH_ONE_PREPARED:
            assert time.monotonic() < deadline, "no sandbox was prepared"
            time.sleep(0.01)

    def close(self) -> None:
        """End the server."""
        self._client.close()


def contest(rounds: int, contestants: Sequence[Contestant]) -> dict[str, list[float]]:
    """Return the seconds that each takes, taken in turns so that noise hits all alike."""
    times: dict[str, list[float]] = {each.name: [] for each in contestants}
    for number in range(rounds + 1):
        for each in contestants:
            _ = each.before()
            began = time.perf_counter()
            _ = each.action()
            taken = time.perf_counter() - began
            _ = each.after()
            if number:  # the first round imports and makes what all others need
                times[each.name].append(taken)
    return times


def run() -> list[Row]:
    """Compare creation, cold and prepared, of the engine alone and over HTTP."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())

        def engine(*prepared: SandboxSpec) -> Engine:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            made = Engine(runner, directory, *prepared)
            _ = stack.callback(made.close)
            return made

        def remote(**options: int) -> Remote:
            made = Remote(**options)
            _ = stack.callback(made.close)
            return made

        warm_remote = remote(minimal=1)
        cold_remote, cold, warm = remote(), engine(), engine(_SPEC)
        busy = remote()
        busy.create()
        contestants = [
            Contestant("engine", cold.create, after=cold.destroy),
            Contestant("engine, prepared", warm.create, warm.wait_prepared, warm.destroy),
            Contestant("HTTP", cold_remote.create, after=cold_remote.destroy),
            Contestant(
                "HTTP, prepared", warm_remote.create, warm_remote.wait_prepared, warm_remote.destroy
            ),
            Contestant("end, engine", cold.destroy, before=cold.create),
            Contestant("end, HTTP", cold_remote.destroy, before=cold_remote.create),
            Contestant("exec true", busy.execute),
            Contestant("call", busy.call),
            Contestant("spawn", lambda: rivals.spawn("true")),
        ]
        if rivals.has("bwrap"):
            contestants.append(Contestant("bwrap", rivals.bwrap))
        if rivals.has("podman"):
            root = stack.enter_context(rivals.podman_root())
            if rivals.works(lambda: rivals.podman(root)):
                contestants.append(Contestant("podman", lambda: rivals.podman(root)))
        return list(_rows(contest(ROUNDS, contestants)))


def _rows(times: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    middle = {name: statistics.median(each) * 1000 for name, each in times.items()}
    for rival, cold, prepared in (("bwrap", 1.2, 0.3), ("podman", 0.1, None)):
        if rival not in middle:
            print(f"\n{rival} is not there, or cannot run here: nothing is compared with it")
            continue
        against = f"{rival} … true"
        for place in ("engine", "HTTP"):
            limit = middle[rival]
            yield Row(f"create, {place}", middle[place], limit, "ms", against, cold)
            ready = middle[f"{place}, prepared"]
            yield Row(f"create prepared, {place}", ready, limit, "ms", against, prepared)
            yield Row(f"destroy, {place}", middle[f"end, {place}"], limit, "ms", against)
    bare = middle["spawn"] + middle["call"]
    yield Row("exec true", middle["exec true"], bare, "ms", "true on the host + an HTTP call", 2)
    spawns = statistics.quantiles(times["spawn"], n=10)
    yield Row("noise: slow spawn", spawns[8] * 1000, spawns[0] * 1000, "ms", "a fast one (p90/p10)")
