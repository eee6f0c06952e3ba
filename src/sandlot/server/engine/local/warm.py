"""Sandboxes that are ready before they are asked for.

Nobody has used them, so there is nothing in them that could be carried over. They are prepared one
after the other, in the time that users leave: those with a service, which takes a second of it,
when the sandboxes that were handed out have become quiet; others when the machine can spare some.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sandlot.server.engine.base import EngineError, SandboxSpec

from .demand import Demand, Kind
from .sandbox import LocalSandbox

__all__ = ["WarmSandboxes"]

_log = logging.getLogger("sandlot.server.engine")

_MIB = 1024 * 1024
_PATIENCE = 120.0
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_INTERVAL = 1.0
_BUSY = 0.1
"""Seconds of CPU time in an interval that make a sandbox busy."""
_RESPECT = 20
"""Intervals after which a sandbox that does not become quiet is waited for no longer."""
_GLANCE = 0.03
"""Seconds in which the machine is looked at; its clock ticks every 0.01."""
_SPARE = 0.1
"""Share of all processors that has to be idle."""
_LOOK = 15.0
"""Seconds after which it is asked again whether what is prepared is still wanted."""


@dataclass(slots=True, eq=False)
class _Place:
    """A prepared sandbox."""

    kind: Kind
    sandbox: LocalSandbox
    watcher: asyncio.Task[None] | None = None


class WarmSandboxes:
    """Keeps sandboxes prepared.

    Args:
        demand: What they are like, and how many there shall be.
        memory_mb: How much memory they may use together, in MiB.
        make: Makes a sandbox.
        destroy: Destroys a sandbox by its id.
    """

    def __init__(
        self,
        demand: Demand,
        memory_mb: int,
        make: Callable[[SandboxSpec], Awaitable[LocalSandbox]],
        destroy: Callable[[str], Awaitable[None]],
    ) -> None:
        self._demand = demand
        self._bound = memory_mb * _MIB
        self._make = make
        self._destroy = destroy
        self._places: list[_Place] = []
        self._taken: list[LocalSandbox] = []
        self._delay = 0.0
        self._complained = False
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> int:
        """How many are prepared."""
        return len(self._places)

    def start(self) -> None:
        """Begin to prepare."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Prepare no more; those that are there are left to whoever destroys all."""
        tasks = [self._task, *(place.watcher for place in self._places)]
        for task in tasks:
            if task is not None:
                _ = task.cancel()
                _ = await asyncio.wait([task])

    def take(self, spec: SandboxSpec, *, serves: bool) -> LocalSandbox | None:
        """Hand out a sandbox like this, if there is one.

        Args:
            spec: What is asked for.
            serves: Whether something runs in it from the beginning.
        """
        self._demand.note(spec, self._loop.time(), serves=serves)
        self._changed.set()
        kind = self._demand.find(spec, serves=serves)
        for place in self._places:
            if place.kind is kind and not place.sandbox.gone:
                self._drop(place)
                self._taken = [*(each for each in self._taken if not each.gone), place.sandbox]
                self._delay = 0.0
                self._complained = False
                return place.sandbox
        return None

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await self._retire()
            kind = self._missing()
            if kind is None or not await self._has_room(kind):
                await self._wait_changed()
                continue
            await asyncio.sleep(self._delay)
            await (self._wait_quiet() if kind.serves else self._wait_idle())
            try:
                await self._fill(kind)
            except (EngineError, OSError) as error:
                self._note_failure(kind)
                _log.warning(
                    "a sandbox could not be prepared; trying again later",
                    extra={"template": kind.spec.template, "reason": str(error)},
                )

    async def _wait_changed(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK if self._demand.may_change else None):
                _ = await self._changed.wait()

    def _missing(self) -> Kind | None:
        """Return the kind of which there are too few."""
        for kind, count in self._demand.targets(self._loop.time()).items():
            if count > sum(place.kind is kind for place in self._places):
                return kind
        return None

    async def _retire(self) -> None:
        """Destroy what is not wanted any more."""
        left = dict(self._demand.targets(self._loop.time()))
        for place in list(self._places):
            count = left.get(place.kind, 0)
            if count:
                left[place.kind] = count - 1
                continue
            self._drop(place)
            try:
                await self._destroy(place.sandbox.id)
            except EngineError as error:
                _log.warning("what is left of a prepared sandbox stays: %s", error)

    def _drop(self, place: _Place) -> None:
        """Let go of a prepared sandbox."""
        self._places.remove(place)
        if place.watcher is not None:
            _ = place.watcher.cancel()

    async def _fill(self, kind: Kind) -> None:
        spec = replace(kind.spec, id=f"warm-{secrets.token_hex(8)}")
        sandbox = await self._make(spec)
        try:
            async with asyncio.timeout(_PATIENCE):
                await sandbox.wait_prepared()
            used = (await sandbox.usage()).memory_bytes
            kind.size = max(kind.size, used)
            if await self._used() + used > self._bound:
                await self._destroy(spec.id)
                return
        except TimeoutError as error:
            await self._destroy(spec.id)
            raise EngineError("it does not become ready") from error
        except BaseException:
            await self._destroy(spec.id)
            raise
        place = _Place(kind, sandbox)
        self._places.append(place)
        place.watcher = asyncio.create_task(self._watch(place))
        _log.info("a sandbox is prepared", extra={"template": spec.template})

    async def _watch(self, place: _Place) -> None:
        """Replace a prepared sandbox when it dies."""
        await place.sandbox.wait_gone()
        self._places.remove(place)
        self._note_failure(place.kind)
        _log.warning("a prepared sandbox has died", extra={"template": place.kind.spec.template})
        try:
            await self._destroy(place.sandbox.id)
        except EngineError as error:
            _log.warning("what is left of it stays: %s", error)
        self._changed.set()

    def _note_failure(self, kind: Kind) -> None:
        """Wait longer each time, until a prepared sandbox was of use.

        What nobody insists on has to be asked for again.
        """
        kind.weight = 0.0
        if kind.floor:
            self._delay = min(max(self._delay * 2, _FIRST_DELAY), _LONGEST_DELAY)

    async def _has_room(self, kind: Kind) -> bool:
        """Whether there is memory for another one like those before."""
        used = await self._used()
        if used + kind.size <= self._bound:
            return True
        if not self._complained:
            self._complained = True
            _log.warning(
                "no more sandboxes are prepared: they would use more memory than they may",
                extra={"used_mb": used // _MIB, "another_mb": kind.size // _MIB},
            )
        return False

    async def _used(self) -> int:
        """Return how much memory the prepared sandboxes use."""
        used = 0
        for place in list(self._places):
            with suppress(EngineError):  # it may have just died
                used += (await place.sandbox.usage()).memory_bytes
        return used

    async def _wait_idle(self) -> None:
        """Wait until the machine has time to spare, or for long enough."""
        interval = _GLANCE
        for _ in range(_RESPECT):
            before = _ticks()
            await asyncio.sleep(interval)
            idle, all = (new - old for new, old in zip(_ticks(), before, strict=True))
            if idle >= all * _SPARE:
                return
            interval = min(interval * 2, _INTERVAL)

    async def _wait_quiet(self) -> None:
        """Wait until those that were handed out have little to do, or have had time enough."""
        spent: dict[LocalSandbox, float] = {}
        for _ in range(_RESPECT):
            spent |= dict.fromkeys(self._taken, 0.0)
            self._taken.clear()
            for sandbox, before in list(spent.items()):
                try:
                    spent[sandbox] = (await sandbox.usage()).cpu_seconds
                except EngineError:
                    del spent[sandbox]
                    continue
                if before and spent[sandbox] - before < _BUSY:
                    del spent[sandbox]
            if not spent:
                return
            await asyncio.sleep(_INTERVAL)


def _ticks() -> tuple[int, int]:
    """Return the time that all processors have spent idle, and in all; see proc_stat(5)."""
    with Path("/proc/stat").open() as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return fields[3] + fields[4], sum(fields)
