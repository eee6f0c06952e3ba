"""An engine that does nothing, whose operations wait and fail as a test wants it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from sandlot.server.engine.base import (
    Command,
    EnforcedLimits,
    EngineCapabilities,
    EngineError,
    FileReader,
    FileWriter,
    Node,
    Process,
    SandboxHandle,
    SandboxSpec,
    Usage,
)
from sandlot.server.ids import new_id
from sandlot.server.services.events import Events
from sandlot.server.services.machines import Machines
from sandlot.server.services.sandboxes import Sandboxes
from sandlot.server.store.memory import MemoryStore

TEAM = "team-" + "0" * 25

CAPABILITIES = EngineCapabilities(
    engine="double",
    level="none",
    templates=["minimal"],
    limits=EnforcedLimits("none", "none", "none", "none"),
    pause="stop",
)


class Handle:
    """A sandbox that does nothing; `frozen` says what became of the last pause or resume."""

    def __init__(self, sandbox_id: str, gate: Callable[[str], Awaitable[None]]) -> None:
        self.id = sandbox_id
        self.node = "local"
        self.gone = asyncio.Event()
        self.frozen = False
        self._gate = gate

    async def wait_gone(self) -> None:
        _ = await self.gone.wait()

    async def spawn(self, command: Command) -> Process:
        raise EngineError("no programs here")

    async def open_reader(self, path: str) -> FileReader:
        raise EngineError("no files here")

    async def open_writer(self, path: str) -> FileWriter:
        raise EngineError("no files here")

    async def pause(self) -> None:
        self.frozen = True
        await self._gate("pause")

    async def resume(self) -> None:
        await self._gate("resume")
        self.frozen = False

    async def usage(self) -> Usage:
        return Usage(0.0, 0, 0)


@dataclass
class Double:
    """An engine whose operations wait until they are let go, and may fail."""

    gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    failing: set[str] = field(default_factory=set[str])
    living: dict[str, Handle] = field(default_factory=dict[str, Handle])
    began: asyncio.Event = field(default_factory=asyncio.Event)
    capabilities: EngineCapabilities = CAPABILITIES

    async def start(self) -> None:
        return

    async def nodes(self) -> Sequence[Node]:
        return [Node("local")]

    async def adopt(self) -> Sequence[SandboxHandle]:
        return list(self.living.values())

    async def release(self) -> None:
        return

    async def close(self) -> None:
        self.living.clear()

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        self.began.set()
        await self._gate("create")
        return self.handle(spec.id)

    def handle(self, sandbox_id: str) -> Handle:
        """Return a new sandbox that lives."""
        handle = self.living[sandbox_id] = Handle(sandbox_id, self._gate)
        return handle

    async def destroy(self, sandbox_id: str) -> None:
        await self._gate("destroy")
        _ = self.living.pop(sandbox_id, None)

    async def _gate(self, name: str) -> None:
        if name in self.gates:
            _ = await self.gates[name].wait()
        if name in self.failing:
            raise EngineError(f"{name} failed")


Scenario = Callable[[Sandboxes, Double, MemoryStore], Coroutine[None, None, None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        store, engine = MemoryStore(), Double()
        machines = Machines(store, engine, Events(), new_id("host"), 90)
        sandboxes = Sandboxes(store.sandboxes, engine, machines)
        try:
            async with asyncio.timeout(45):
                await machines.start()
                await scenario(sandboxes, engine, store)
        finally:
            await sandboxes.close()

    asyncio.run(main())


async def settled() -> None:
    """Let everything happen that can happen by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something comes to be true; only for what nobody announces.

    `run` says for how long at most.
    """
    for _ in itertools.count():
        if condition():
            return
        await asyncio.sleep(0.01)
