"""How a sandbox lives and dies."""

from __future__ import annotations

import logging
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .. import models
from .._operations import sandboxes
from .._resource import AsyncResource, Resource
from .._transport import AsyncTransport, Transport
from ..errors import SandlotError
from ._seen import Seen
from .doors import AsyncDoors, Doors
from .leases import AsyncKeepAlive, KeepAlive

if TYPE_CHECKING:
    from .code import AsyncCode, Code

__all__ = ["AsyncLifecycle", "Lifecycle"]

_logger = logging.getLogger("sandlot.sandbox")


class Lifecycle(Seen, Resource):
    """A sandbox that is there until somebody destroys it."""

    def __init__(
        self, transport: Transport, info: models.SandboxInfo, *, owned: bool = False
    ) -> None:
        Resource.__init__(self, transport)
        Seen.__init__(self, info, owned=owned)
        self._doors = Doors(transport)
        self._code: Code | None = None
        self._keeper: KeepAlive | None = None

    def wait_ready(self, timeout: float = 30) -> models.SandboxInfo:
        """Wait until the sandbox runs.

        Raises:
            SandboxTimeoutError: It does not after `timeout` seconds.
            SandboxStateError: It never will by waiting: it is paused, failed or gone.
        """
        return self._see(self._run(sandboxes.wait_ready(self._use(), timeout=timeout)))

    def ping(self) -> None:
        """Reset the idle timer."""
        self._run(sandboxes.ping(self._use()))

    def pause(self) -> models.SandboxInfo:
        """Freeze every process; `resume` lets them go on where they were."""
        return self._see(self._run(sandboxes.suspend(self._use())))

    def resume(self) -> models.SandboxInfo:
        """Thaw a paused sandbox."""
        return self._see(self._run(sandboxes.resume(self._use())))

    def renew_lease(self) -> datetime:
        """Begin a new period of the lease; return when the sandbox will end without another.

        Raises:
            InvalidRequestError: It has no lease.
            LeaseLostError: It is gone.
        """
        return (self._run(sandboxes.renew_lease(self._use()))).expires_at

    def keep_alive(self) -> KeepAlive:
        """Return a context manager that renews the lease for as long as its block lasts.

        It does so every third of the lease and bears with failures that may pass. The end of the
        block raises `LeaseLostError` if the sandbox ended meanwhile. In `with` blocks of sandboxes
        with a lease all that happens by itself.
        """
        return KeepAlive(self._transport, self)

    def refresh(self) -> models.SandboxInfo:
        """Look up the sandbox again."""
        return self._see(self._run(sandboxes.get(self.id)))

    def metrics(self, range: str | None = None) -> models.SandboxMetrics:
        """Return the use of CPU, memory and disk over a `range`: 5m, 10m (the default) to 24h."""
        return self._run(sandboxes.metrics(self._use(), range))

    def destroy(self) -> None:
        """Destroy the sandbox for good, its files included. May be repeated.

        Ctrl-C or cancellation do not keep it from being done.
        """
        self._detach()
        self._run(sandboxes.destroy(self.id))
        self._forget()

    def __enter__(self) -> Self:
        if self.info.lease_sec:
            self._keeper = self.keep_alive().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                keeper.__exit__(kind, exc, traceback)
        finally:
            self._leave(exc)

    def _leave(self, exc: BaseException | None) -> None:
        if not self._is_to_be_destroyed():
            self._detach()
            return
        try:
            self.destroy()
        except SandlotError as failure:
            _logger.warning("sandbox %s could not be destroyed: %s", self.id, failure)
            if exc is None:
                raise

    def _detach(self) -> None:
        """Close what is open on it."""
        self._doors.close()
        if self._code is not None:
            self._code.close()


class AsyncLifecycle(Seen, AsyncResource):
    """A sandbox that is there until somebody destroys it."""

    def __init__(
        self, transport: AsyncTransport, info: models.SandboxInfo, *, owned: bool = False
    ) -> None:
        AsyncResource.__init__(self, transport)
        Seen.__init__(self, info, owned=owned)
        self._doors = AsyncDoors(transport)
        self._code: AsyncCode | None = None
        self._keeper: AsyncKeepAlive | None = None

    async def wait_ready(self, timeout: float = 30) -> models.SandboxInfo:
        """Wait until the sandbox runs.

        Raises:
            SandboxTimeoutError: It does not after `timeout` seconds.
            SandboxStateError: It never will by waiting: it is paused, failed or gone.
        """
        return self._see(await self._run(sandboxes.wait_ready(self._use(), timeout=timeout)))

    async def ping(self) -> None:
        """Reset the idle timer."""
        await self._run(sandboxes.ping(self._use()))

    async def pause(self) -> models.SandboxInfo:
        """Freeze every process; `resume` lets them go on where they were."""
        return self._see(await self._run(sandboxes.suspend(self._use())))

    async def resume(self) -> models.SandboxInfo:
        """Thaw a paused sandbox."""
        return self._see(await self._run(sandboxes.resume(self._use())))

    async def renew_lease(self) -> datetime:
        """Begin a new period of the lease; return when the sandbox will end without another.

        Raises:
            InvalidRequestError: It has no lease.
            LeaseLostError: It is gone.
        """
        return (await self._run(sandboxes.renew_lease(self._use()))).expires_at

    def keep_alive(self) -> AsyncKeepAlive:
        """Return a context manager that renews the lease for as long as its block lasts.

        It does so every third of the lease and bears with failures that may pass. The end of the
        block raises `LeaseLostError` if the sandbox ended meanwhile. In `with` blocks of sandboxes
        with a lease all that happens by itself.
        """
        return AsyncKeepAlive(self._transport, self)

    async def refresh(self) -> models.SandboxInfo:
        """Look up the sandbox again."""
        return self._see(await self._run(sandboxes.get(self.id)))

    async def metrics(self, range: str | None = None) -> models.SandboxMetrics:
        """Return the use of CPU, memory and disk over a `range`: 5m, 10m (the default) to 24h."""
        return await self._run(sandboxes.metrics(self._use(), range))

    async def destroy(self) -> None:
        """Destroy the sandbox for good, its files included. May be repeated.

        Ctrl-C or cancellation do not keep it from being done.
        """
        await self._detach()
        await self._run(sandboxes.destroy(self.id))
        self._forget()

    async def __aenter__(self) -> Self:
        if self.info.lease_sec:
            self._keeper = await self.keep_alive().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                await keeper.__aexit__(kind, exc, traceback)
        finally:
            await self._leave(exc)

    async def _leave(self, exc: BaseException | None) -> None:
        if not self._is_to_be_destroyed():
            await self._detach()
            return
        try:
            await self.destroy()
        except SandlotError as failure:
            _logger.warning("sandbox %s could not be destroyed: %s", self.id, failure)
            if exc is None:
                raise

    async def _detach(self) -> None:
        """Close what is open on it."""
        await self._doors.close()
        if self._code is not None:
            await self._code.close()
