"""Sandboxes that are ready before they are asked for.

Nobody has used them, so there is nothing in them that could be carried over. They are prepared one
after the other, when those that were handed out have become quiet: whoever uses one comes first.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sandlot.server.engine.base import EngineError, SandboxSpec

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


@dataclass(slots=True, eq=False)
class _Place:
    """Room for one prepared sandbox."""

    spec: SandboxSpec
    sandbox: LocalSandbox | None = None
    watcher: asyncio.Task[None] | None = None


class WarmSandboxes:
    """Keeps sandboxes prepared.

    Args:
        wanted: What they are like, one by one; their ids do not matter.
        memory_mb: How much memory they may use together, in MiB.
        make: Makes a sandbox.
        destroy: Destroys a sandbox by its id.
    """

    def __init__(
        self,
        wanted: Sequence[SandboxSpec],
        memory_mb: int,
        make: Callable[[SandboxSpec], Awaitable[LocalSandbox]],
        destroy: Callable[[str], Awaitable[None]],
    ) -> None:
        self._places = [_Place(spec) for spec in wanted]
        self._bound = memory_mb * _MIB
        self._make = make
        self._destroy = destroy
        self._taken: list[LocalSandbox] = []
        self._largest = 0
        self._delay = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> int:
        """How many are prepared."""
        return sum(place.sandbox is not None for place in self._places)

    def start(self) -> None:
        """Begin to prepare."""
        if self._places:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Prepare no more; those that are there are left to whoever destroys all."""
        tasks = [self._task, *(place.watcher for place in self._places)]
        for task in tasks:
            if task is not None:
                _ = task.cancel()
                _ = await asyncio.wait([task])

    def take(self, spec: SandboxSpec) -> LocalSandbox | None:
        """Hand out a sandbox that is exactly like this but for its id, if there is one."""
        for place in self._places:
            sandbox = place.sandbox
            if (
                sandbox is not None
                and not sandbox.gone
                and replace(place.spec, id=spec.id) == spec
                and place.watcher is not None
            ):
                _ = place.watcher.cancel()
                place.sandbox = place.watcher = None
                self._taken.append(sandbox)
                self._delay = 0.0
                self._changed.set()
                return sandbox
        return None

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            place = next((place for place in self._places if place.sandbox is None), None)
            if place is None or not await self._has_room():
                _ = await self._changed.wait()
                continue
            await asyncio.sleep(self._delay)
            await self._wait_quiet()
            try:
                await self._fill(place)
            except (EngineError, OSError) as error:
                self._note_failure()
                _log.warning(
                    "a sandbox could not be prepared; trying again later",
                    extra={"template": place.spec.template, "reason": str(error)},
                )

    async def _fill(self, place: _Place) -> None:
        spec = replace(place.spec, id=f"warm-{secrets.token_hex(8)}")
        sandbox = await self._make(spec)
        try:
            async with asyncio.timeout(_PATIENCE):
                await sandbox.wait_prepared()
            used = (await sandbox.usage()).memory_bytes
            self._largest = max(self._largest, used)
            if await self._used() + used > self._bound:
                await self._destroy(spec.id)
                return
        except TimeoutError as error:
            await self._destroy(spec.id)
            raise EngineError("it does not become ready") from error
        except BaseException:
            await self._destroy(spec.id)
            raise
        place.sandbox = sandbox
        place.watcher = asyncio.create_task(self._watch(place, sandbox))
        _log.info("a sandbox is prepared", extra={"template": spec.template})

    async def _watch(self, place: _Place, sandbox: LocalSandbox) -> None:
        """Replace a prepared sandbox when it dies."""
        await sandbox.wait_gone()
        place.sandbox = place.watcher = None
        self._note_failure()
        _log.warning("a prepared sandbox has died", extra={"template": place.spec.template})
        try:
            await self._destroy(sandbox.id)
        except EngineError as error:
            _log.warning("what is left of it stays: %s", error)
        self._changed.set()

    def _note_failure(self) -> None:
        """Wait longer each time, until a prepared sandbox was of use."""
        self._delay = min(max(self._delay * 2, _FIRST_DELAY), _LONGEST_DELAY)

    async def _has_room(self) -> bool:
        """Whether there is memory for another one like those before."""
        used = await self._used()
        if used + self._largest <= self._bound:
            return True
        _log.warning(
            "no more sandboxes are prepared: they would use more memory than they may",
            extra={"used_mb": used // _MIB, "another_mb": self._largest // _MIB},
        )
        return False

    async def _used(self) -> int:
        """Return how much memory the prepared sandboxes use."""
        used = 0
        for place in self._places:
            with suppress(EngineError):  # it may have just died
                used += 0 if place.sandbox is None else (await place.sandbox.usage()).memory_bytes
        return used

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
