"""The service of a template, in one sandbox: started, waited for, and started again if it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sandlot.server.engine.base import EngineError, PortClosedError, Process, SandboxGoneError

from .recipes import Service

__all__ = ["RunningService", "ServiceError"]

_log = logging.getLogger("sandlot.server.engine")

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 30.0
_STABLE = 60.0
"""Seconds after which a service that dies is no longer taken for one that cannot run."""
_TAIL = 2000


class ServiceError(PortClosedError):
    """The service is not there."""


class RunningService:
    """Keeps a service running for as long as its sandbox lives.

    Args:
        service: What to run.
        start: Starts it in the sandbox.
    """

    def __init__(self, service: Service, start: Callable[[], Awaitable[Process]]) -> None:
        self.port = service.port
        self._service = service
        self._start = start
        self._ready: asyncio.Future[None] = _promise()
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
                f"The service on port {self.port} is not ready yet, after"
                f" {self._service.patience:g} seconds."
            ) from error

    def stop(self) -> None:
        """Take no more care of it; may be repeated."""
        _ = self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        try:
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
            try:
                tail = await self._watch_start(process)
                if self._ready.done():
                    await process.discard()
                code = (await process.wait()).code
            finally:
                await process.close()
        except SandboxGoneError:
            raise
        except EngineError as error:
            self._fail(ServiceError(f"The service on port {self.port} cannot run: {error}"))
            return
        if self._ready.done():
            _log.info("a service has died; starting it again", extra={"code": code})
            self._ready = _promise()
        else:
            self._fail(ServiceError(f"The service on port {self.port} ended with {code}: {tail}"))

    async def _watch_start(self, process: Process) -> str:
        """Return when it is ready, or has nothing more to say; return its last words."""
        tail = b""
        while (output := await process.read()) is not None:
            if output.stream == "stdout" and b"\n" in output.data:
                self._ready.set_result(None)
                return ""
            tail = (tail + output.data)[-_TAIL:]
        return tail.decode(errors="replace").strip() or "it said nothing"

    def _fail(self, error: EngineError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)


def _promise() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_look_at)
    return future


def _look_at(future: asyncio.Future[None]) -> None:
    """Look at the outcome, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        _ = future.exception()
