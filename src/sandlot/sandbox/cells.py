"""Code that runs in a kernel, and what it does meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from .._protocols.cell import KernelTalk
from ..code_events import CodeEndEvent, CodeEvent
from ..errors import (
    ConflictError,
    ContextNotFoundError,
    KernelDiedError,
    NotFoundError,
    SandlotError,
)
from ..executions import Execution
from . import _turns as turns
from ._cell import BACKOFF, GRACE, PATIENCE, Cell, Source
from ._sessions import AsyncKernelSession, KernelSession

__all__ = ["AsyncCodeStream", "CodeStream"]

_logger = logging.getLogger("sandlot.sandbox")


class CodeStream(Cell):
    """Running code: iterate over what it does, while it does it.

    It starts when it is first iterated over. Leaving the `with` block, or dropping the stream,
    interrupts the code. `execution` has what it did so far.
    """

    def __init__(self, kernel: KernelSession, source: Source) -> None:
        super().__init__(source)
        self._kernel = kernel

    def wait(self) -> Execution:
        """Wait for the end of the code, and return what it did."""
        for event in self:
            callback, news = self._callbacks.find(event)
            if callback is not None:
                turns.call(callback, news)
        return self.execution

    def stop(self) -> None:
        """Interrupt the code, and wait a while for its end. May be repeated."""
        if not self._running:
            return
        try:
            self._stopping = True
            if not self._has_ended():
                self._kernel.interrupt()
                self._deadline = time.monotonic() + GRACE
                while not self._has_ended() and not self._is_late():
                    self._listen(self._deadline)
                    while self._news() is not None:
                        pass
        except SandlotError as exc:
            _logger.warning("code in %s could not be interrupted: %s", self._kernel.where, exc)
        finally:
            self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CodeEvent:
        if not self._began:
            self._begin()
        while True:
            event = self._news()
            if event is not None:
                return event
            if not self._running:
                raise StopIteration
            if self._has_ended():
                self._leave()
                return CodeEndEvent(self.execution)
            try:
                self._listen(self._wait_until())
            except SandlotError as exc:
                if isinstance(exc, KernelDiedError):
                    self._kernel.renew()
                self._kernel.link.drop()
                self._leave()
                raise

    def __del__(self) -> None:
        if self._running:
            self._kernel.link.drop()
            self._leave()

    def _begin(self) -> None:
        """Wait for this code's turn, and send it."""
        self._began = True
        if not turns.take(self._kernel.turn, self._latest()):
            raise self._late_for_turn()
        self._running = True
        try:
            talk = self._kernel.prepare()
            self._send(talk)
        except BaseException:
            self._leave()
            raise

    def _send(self, talk: KernelTalk) -> None:
        request = self._send_with(talk, self._kernel.link.session)
        try:
            self._kernel.link.send(request)
        except ConnectionError as exc:
            self._reconnect(str(exc))

    def _leave(self) -> None:
        if self._running:
            self._running = False
            self._kernel.turn.release()

    def _listen(self, until: float) -> None:
        """Receive a message; if none comes for a while, see why."""
        seconds = until - time.monotonic()
        try:
            if seconds <= 0:
                raise TimeoutError
            message = self._kernel.link.receive(seconds)
        except TimeoutError:
            self._look()
        except ConnectionError as exc:
            self._reconnect(str(exc))
        else:
            talk = self._take(message)
            if self._is_undelivered():
                self._send(talk)

    def _look(self) -> None:
        """See why nothing comes, or end what takes too long."""
        if self._stopping:
            return
        if not self._is_late():
            self._check()
        elif not self._expired:
            self._expire()
            self._order(self._kernel.interrupt)
        else:
            self._order(self._kernel.restart)
            self._state_lost = True

    def _order(self, order: Callable[[], None]) -> None:
        try:
            order()
        except SandlotError as exc:
            raise self._lost(f"its time is up, but it cannot be interrupted: {exc}") from exc

    def _check(self) -> None:
        """Keep the sandbox from being paused for idleness, and find out whether it is gone."""
        self._heard()
        try:
            self._kernel.touch()
            self._kernel.link.check()
        except ConflictError as exc:
            self._bear_pause(exc)
        except NotFoundError as exc:
            raise self._lost("the sandbox was destroyed") from exc
        except ConnectionError as exc:
            self._reconnect(str(exc))
        except SandlotError:
            return  # the connection that matters will show it

    def _bear_pause(self, exc: ConflictError) -> None:
        """Go on waiting if the sandbox is paused while code runs: it may be resumed in time."""
        if not self._kernel.is_paused():
            raise self._lost("the sandbox was destroyed") from exc
        if not self._started:
            raise self._lost("the sandbox is paused; it may run the code when it goes on") from exc

    def _reconnect(self, reason: str) -> None:
        """Connect anew, and find out what was missed."""
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                self._kernel.reconnect()
                self._incomplete = self._incomplete or not self._kernel.link.is_complete
                if self._incomplete or not self._started:
                    self._kernel.link.send(self._probe(self._kernel.link.session))
            except ContextNotFoundError as exc:
                raise self._died() from exc
            except ConflictError as exc:
                self._bear_pause(exc)
                reason = str(exc)
                patience = max(patience, self._deadline or 0.0)
            except (SandlotError, ConnectionError) as exc:
                reason = str(exc)
                if isinstance(exc, SandlotError) and not exc.is_retryable:
                    raise self._refused(exc) from exc
            else:
                return
            if time.monotonic() > patience:
                raise self._lost(reason)
            turns.sleep(BACKOFF)


class AsyncCodeStream(Cell):
    """Running code: iterate over what it does, while it does it.

    It starts when it is first iterated over. Leaving the `with` block, or dropping the stream,
    interrupts the code. `execution` has what it did so far.
    """

    def __init__(self, kernel: AsyncKernelSession, source: Source) -> None:
        super().__init__(source)
        self._kernel = kernel

    async def wait(self) -> Execution:
        """Wait for the end of the code, and return what it did."""
        async for event in self:
            callback, news = self._callbacks.find(event)
            if callback is not None:
                await turns.async_call(callback, news)
        return self.execution

    async def stop(self) -> None:
        """Interrupt the code, and wait a while for its end. May be repeated."""
        if not self._running:
            return
        try:
            self._stopping = True
            if not self._has_ended():
                await self._kernel.interrupt()
                self._deadline = time.monotonic() + GRACE
                while not self._has_ended() and not self._is_late():
                    await self._listen(self._deadline)
                    while self._news() is not None:
                        pass
        except SandlotError as exc:
            _logger.warning("code in %s could not be interrupted: %s", self._kernel.where, exc)
        finally:
            self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CodeEvent:
        if not self._began:
            await self._begin()
        while True:
            event = self._news()
            if event is not None:
                return event
            if not self._running:
                raise StopAsyncIteration
            if self._has_ended():
                self._leave()
                return CodeEndEvent(self.execution)
            try:
                await self._listen(self._wait_until())
            except SandlotError as exc:
                if isinstance(exc, KernelDiedError):
                    self._kernel.renew()
                self._kernel.link.drop()
                self._leave()
                raise

    def __del__(self) -> None:
        if self._running:
            self._kernel.link.drop()
            self._leave()

    async def _begin(self) -> None:
        """Wait for this code's turn, and send it."""
        self._began = True
        if not await turns.async_take(self._kernel.turn, self._latest()):
            raise self._late_for_turn()
        self._running = True
        try:
            talk = await self._kernel.prepare()
            await self._send(talk)
        except BaseException:
            self._leave()
            raise

    async def _send(self, talk: KernelTalk) -> None:
        request = self._send_with(talk, self._kernel.link.session)
        try:
            await self._kernel.link.send(request)
        except ConnectionError as exc:
            await self._reconnect(str(exc))

    def _leave(self) -> None:
        if self._running:
            self._running = False
            self._kernel.turn.release()

    async def _listen(self, until: float) -> None:
        """Receive a message; if none comes for a while, see why."""
        seconds = until - time.monotonic()
        try:
            if seconds <= 0:
                raise TimeoutError
            message = await self._kernel.link.receive(seconds)
        except TimeoutError:
            await self._look()
        except ConnectionError as exc:
            await self._reconnect(str(exc))
        else:
            talk = self._take(message)
            if self._is_undelivered():
                await self._send(talk)

    async def _look(self) -> None:
        """See why nothing comes, or end what takes too long."""
        if self._stopping:
            return
        if not self._is_late():
            await self._check()
        elif not self._expired:
            self._expire()
            await self._order(self._kernel.interrupt)
        else:
            await self._order(self._kernel.restart)
            self._state_lost = True

    async def _order(self, order: Callable[[], Awaitable[None]]) -> None:
        try:
            await order()
        except SandlotError as exc:
            raise self._lost(f"its time is up, but it cannot be interrupted: {exc}") from exc

    async def _check(self) -> None:
        """Keep the sandbox from being paused for idleness, and find out whether it is gone."""
        self._heard()
        try:
            await self._kernel.touch()
            await self._kernel.link.check()
        except ConflictError as exc:
            await self._bear_pause(exc)
        except NotFoundError as exc:
            raise self._lost("the sandbox was destroyed") from exc
        except ConnectionError as exc:
            await self._reconnect(str(exc))
        except SandlotError:
            return  # the connection that matters will show it

    async def _bear_pause(self, exc: ConflictError) -> None:
        """Go on waiting if the sandbox is paused while code runs: it may be resumed in time."""
        if not await self._kernel.is_paused():
            raise self._lost("the sandbox was destroyed") from exc
        if not self._started:
            raise self._lost("the sandbox is paused; it may run the code when it goes on") from exc

    async def _reconnect(self, reason: str) -> None:
        """Connect anew, and find out what was missed."""
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                await self._kernel.reconnect()
                self._incomplete = self._incomplete or not self._kernel.link.is_complete
                if self._incomplete or not self._started:
                    await self._kernel.link.send(self._probe(self._kernel.link.session))
            except ContextNotFoundError as exc:
                raise self._died() from exc
            except ConflictError as exc:
                await self._bear_pause(exc)
                reason = str(exc)
                patience = max(patience, self._deadline or 0.0)
            except (SandlotError, ConnectionError) as exc:
                reason = str(exc)
                if isinstance(exc, SandlotError) and not exc.is_retryable:
                    raise self._refused(exc) from exc
            else:
                return
            if time.monotonic() > patience:
                raise self._lost(reason)
            await turns.async_sleep(BACKOFF)
