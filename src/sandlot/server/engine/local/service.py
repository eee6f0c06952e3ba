"""The service of a template, in one sandbox: started, waited for, and started again if it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sandlot.server.engine.base import EngineError, PortClosedError, Process, SandboxGoneError

from .recipes import Service

__all__ = ["RunningService", "ServiceError"]

_log = logging.getLogger("sandlot.server.engine")

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 30.0
_STABLE = 60.0
"""Seconds after which a service that dies is no longer taken for one that cannot run."""
_LAST_WORDS = _MOMENT = 0.5
_MOST = 2000
_READY, _PREPARED = b"ready\n", b"prepared\n"


class ServiceError(PortClosedError):
    """The service is not there."""


class RunningService:
    """Keeps a service running for as long as its sandbox lives.

    Args:
        service: What to run.
        start: Starts it in the sandbox.
        find: Returns it if it runs already, and is prepared, when this is made.
    """

    def __init__(
        self,
        service: Service,
        start: Callable[[], Awaitable[Process]],
        find: Callable[[], Awaitable[Process | None]] | None = None,
    ) -> None:
        self.port = service.port
        self._service = service
        self._start = start
        self._find = find
        self._ready: asyncio.Future[None] = _promise()
        self._prepared = asyncio.Event()
        self._gone = asyncio.Event()
        self._tail = b""
        self._task = asyncio.create_task(self._run())

    async def wait_ready(self) -> None:
        """Wait until it answers, if it is about to.

        Raises:
            ServiceError: It has ended before it was ready, or takes too long.
            SandboxGoneError: The sandbox has died.
        """
        try:
            async with asyncio.timeout(self._service.patience):
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise ServiceError(
                f"the service on port {self.port} is not ready after"
                f" {self._service.patience:g} seconds"
            ) from error

    async def is_gone(self) -> bool:
        """Whether it has ended, which takes a moment to be noticed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                _ = await self._gone.wait()
        return self._gone.is_set()

    async def wait_prepared(self) -> None:
        """Wait until everything has been done that the first user would else wait for.

        Raises:
            ServiceError: It has ended before it was ready, or takes too long.
            SandboxGoneError: The sandbox has died.
        """
        await self.wait_ready()
        _ = await self._prepared.wait()

    def stop(self) -> None:
        """Take no more care of it; may be repeated."""
        _ = self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        try:
            await self._attend_found()
            while True:
                began = loop.time()
                await self._run_once()
                if loop.time() - began > _STABLE:
                    delay = _FIRST_DELAY
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                if self._ready.done():
                    self._ready = _promise()
        except SandboxGoneError as error:
            self._fail(error)
        finally:
            self._fail(SandboxGoneError("the sandbox has died"))

    async def _run_once(self) -> None:
        """Start it, and return when it has ended or could not be started."""
        try:
            process = await self._start()
        except SandboxGoneError:
            raise
        except EngineError as error:
            self._fail(ServiceError(f"the service on port {self.port} cannot run: {error}"))
            return
        self._tail = b""
        self._gone.clear()
        await self._attend(process, asyncio.create_task(self._hear(process)))

    async def _attend_found(self) -> None:
        """Wait until the one has ended that was running already, if there is one."""
        process = None if self._find is None else await self._find()
        if process is not None:
            self._ready.set_result(None)
            self._prepared.set()
            await self._attend(process, asyncio.create_task(_nothing()))

    async def _attend(self, process: Process, hearing: asyncio.Task[None]) -> None:
        """Wait until it has ended; it is heard meanwhile."""
        try:
            code = (await process.wait()).code
            was_ready = self._ready.done()
            if was_ready:
                self._ready = _promise()
            self._gone.set()
            # What it started may hold on to its outputs for longer.
            _ = await asyncio.wait([hearing], timeout=_LAST_WORDS)
        finally:
            _ = hearing.cancel()
            await process.close()
        if was_ready:
            _log.info("a service has died; starting it again", extra={"code": code})
        else:
            said = self._tail.decode(errors="replace").strip() or "it said nothing"
            self._fail(ServiceError(f"the service on port {self.port} ended with {code}: {said}"))

    async def _hear(self, process: Process) -> None:
        """Learn how far it is, until it is prepared."""
        lines = b""
        with suppress(SandboxGoneError):
            while not lines.startswith(_READY + _PREPARED):
                output = await process.read()
                if output is None:
                    return
                self._tail = (self._tail + output.data)[-_MOST:]
                if output.stream == "stdout":
                    lines = (lines + output.data)[:_MOST]
                if lines.startswith(_READY) and not self._ready.done():
                    self._ready.set_result(None)
            self._prepared.set()
            await process.discard()

    def _fail(self, error: EngineError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)


async def _nothing() -> None:
    """Have nothing to hear."""


def _promise() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_look_at)
    return future


def _look_at(future: asyncio.Future[None]) -> None:
    """Look at the outcome, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        _ = future.exception()
