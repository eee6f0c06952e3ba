"""Keeping the lease of a sandbox for as long as somebody needs it."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from .._operations import sandboxes
from .._transport import AsyncTransport, Transport
from ..errors import InvalidRequestError, LeaseLostError, NotFoundError, SandlotError
from ._pulse import AsyncPulse, Pulse
from ._seen import Seen

__all__ = ["AsyncKeepAlive", "KeepAlive"]

_logger = logging.getLogger("sandlot.sandbox")

_BEATS = 3
"""How often a lease is renewed in a period: two that are lost do no harm."""


class KeepAlive:
    """A context manager that renews the lease of a sandbox for as long as its block lasts."""

    def __init__(self, transport: Transport, sandbox: Seen) -> None:
        self._run = transport.run
        self._sandbox = sandbox
        self._interval = (sandbox.info.lease_sec or 0) / _BEATS
        self._lost: SandlotError | None = None
        self._pulse: Pulse | None = None

    def __enter__(self) -> Self:
        """Renew the lease, and go on doing so.

        Raises:
            InvalidRequestError: There is no lease.
            LeaseLostError: The sandbox is gone.
        """
        _ = self._run(sandboxes.renew_lease(self._sandbox.id))
        self._pulse = Pulse(self._renew, self._interval)
        self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop renewing.

        Raises:
            LeaseLostError: The sandbox ended meanwhile, and nobody asked for it here.
        """
        if self._pulse is not None:
            self._pulse.stop()
        if self._lost is not None and exc is None and not self._sandbox.is_destroyed:
            raise self._lost

    def _renew(self) -> bool:
        """Renew the lease; tell whether there is any use in going on."""
        patience = max(self._interval, 1.0)
        try:
            _ = self._run(sandboxes.renew_lease(self._sandbox.id, timeout=patience))
        except (InvalidRequestError, LeaseLostError, NotFoundError) as failure:
            if not self._sandbox.is_destroyed:
                _logger.warning("sandbox %s lost its lease: %s", self._sandbox.id, failure)
                self._lost = failure
            return False
        except SandlotError as failure:
            _logger.warning(
                "the lease of sandbox %s was not renewed, trying again: %s",
                self._sandbox.id,
                failure,
            )
        return True


class AsyncKeepAlive:
    """A context manager that renews the lease of a sandbox for as long as its block lasts."""

    def __init__(self, transport: AsyncTransport, sandbox: Seen) -> None:
        self._run = transport.run
        self._sandbox = sandbox
        self._interval = (sandbox.info.lease_sec or 0) / _BEATS
        self._lost: SandlotError | None = None
        self._pulse: AsyncPulse | None = None

    async def __aenter__(self) -> Self:
        """Renew the lease, and go on doing so.

        Raises:
            InvalidRequestError: There is no lease.
            LeaseLostError: The sandbox is gone.
        """
        _ = await self._run(sandboxes.renew_lease(self._sandbox.id))
        self._pulse = AsyncPulse(self._renew, self._interval)
        self._pulse.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop renewing.

        Raises:
            LeaseLostError: The sandbox ended meanwhile, and nobody asked for it here.
        """
        if self._pulse is not None:
            await self._pulse.stop()
        if self._lost is not None and exc is None and not self._sandbox.is_destroyed:
            raise self._lost

    async def _renew(self) -> bool:
        """Renew the lease; tell whether there is any use in going on."""
        patience = max(self._interval, 1.0)
        try:
            _ = await self._run(sandboxes.renew_lease(self._sandbox.id, timeout=patience))
        except (InvalidRequestError, LeaseLostError, NotFoundError) as failure:
            if not self._sandbox.is_destroyed:
                _logger.warning("sandbox %s lost its lease: %s", self._sandbox.id, failure)
                self._lost = failure
            return False
        except SandlotError as failure:
            _logger.warning(
                "the lease of sandbox %s was not renewed, trying again: %s",
                self._sandbox.id,
                failure,
            )
        return True
