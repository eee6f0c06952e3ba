"""What goes on for as long as somebody may: connections end when the rights do that began them.

A request is allowed when it begins, and that is enough for one that is over soon. What lasts (a
stream, a terminal, a tunnel, a body that does not come to its end) is registered here by its
credential, as long as it lasts. All credentials are looked up again as soon as something has
changed, and every few seconds in any case, since other servers change the same database, and time
goes by; what has lost its rights is cancelled where it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator
from typing import Final

from .auth import Authenticator
from .services.errors import ServiceError
from .services.principals import Credential, Principal

__all__ = ["PERIOD", "Grant", "Grants"]

PERIOD: Final = 10.0
"""Seconds after which credentials are looked up again although nothing is known to have changed."""

_log = logging.getLogger("sandlot.server")


class Grants:
    """All that goes on at this moment, by the credentials that it was begun with."""

    def __init__(self, auth: Authenticator) -> None:
        self._auth = auth
        self._open = dict[Credential, set[_Hold]]()

    @property
    def count(self) -> int:
        """How many things go on."""
        return sum(len(holds) for holds in self._open.values())

    def grant(self, caller: Principal, since: int, check: Callable[[Principal], None]) -> Grant:
        """Return the right of somebody to something.

        Args:
            caller: Who they are.
            since: How many changes there had been when that began to be looked up.
            check: Raises a `ServiceError` if they may not.
        """
        return Grant(self, caller.credential, since, check)

    def enter(self, credential: Credential, hold: _Hold, since: int) -> None:
        """Take note that something goes on."""
        self._open.setdefault(credential, set()).add(hold)
        if since != self._auth.changes:  # it may have come too late to be seen
            self._auth.changed.set()

    def leave(self, credential: Credential, hold: _Hold) -> None:
        """Take note that it is over."""
        holds = self._open[credential]
        holds.remove(hold)
        if not holds:
            del self._open[credential]

    async def watch(self) -> None:
        """End what has lost its rights, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    _ = await self._auth.changed.wait()
            self._auth.changed.clear()
            try:
                await self._check()
            except Exception:  # of the database: nobody's rights are known to have ended
                _log.exception("rights could not be looked up")

    async def _check(self) -> None:
        for credential in list(self._open):
            try:
                caller = await self._auth.confirm(credential)
            except ServiceError as error:
                for hold in self._holds(credential):
                    hold.end(error)
                continue
            for hold in self._holds(credential):
                try:
                    hold.check(caller)
                except ServiceError as error:
                    hold.end(error)

    def _holds(self, credential: Credential) -> list[_Hold]:
        return list(self._open.get(credential, ()))


class Grant:
    """The right of somebody to something.

    Attributes:
        lost: Whether something was ended because it is gone.
    """

    def __init__(
        self,
        grants: Grants,
        credential: Credential | None,
        since: int,
        check: Callable[[Principal], None],
    ) -> None:
        self.lost = False
        self._grants = grants
        self._credential = credential
        self._since = since
        self._check = check

    @contextlib.contextmanager
    def held(self, *, begun: bool = True) -> Generator[None]:
        """Go on for as long as the right lasts.

        Args:
            begun: Whether something may have happened when it ends.

        Raises:
            ServiceError: The right is gone; what was going on in the block was cancelled.
        """
        if self._credential is None:
            yield  # who had to show nothing has nothing to lose
            return
        hold = _Hold(self._check)
        self._grants.enter(self._credential, hold, self._since)
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if hold.error is None or not hold.settle():
                raise
            self.lost = True
            raise _ended(hold.error, begun=begun) from cancelled
        except BaseException:
            _ = hold.settle()
            raise
        else:
            _ = hold.settle()
        finally:
            self._grants.leave(self._credential, hold)


class _Hold:
    """Something that goes on in the current task."""

    def __init__(self, check: Callable[[Principal], None]) -> None:
        self.check = check
        self.error: ServiceError | None = None
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()

    def end(self, error: ServiceError) -> None:
        """Cancel it; may be repeated."""
        if self.error is None:
            self.error = error
            _ = self._task.cancel()

    def settle(self) -> bool:
        """Take the cancellation back; return whether nobody else has cancelled the task."""
        return self.error is None or self._task.uncancel() <= self._cancelling


def _ended(error: ServiceError, *, begun: bool) -> ServiceError:
    rest = " What went on was ended." if begun else " Nothing was done."
    ended = type(error)(f"{error}{rest}")
    ended.midway = begun
    return ended
