"""Requests that may be sent again without further effect.

A request with a key claims it first: a row says what the thing will be called before anything is
made. Whoever sends the request again, to this server or to the next one after a crash, is given the
thing of that name; if there is none, nothing came of the first attempt, and it is made.

Of several servers on one database one holds the claim, for a while that it extends as long as it
is at work (`Terms`). Another one that is sent the request waits for it. It takes the claim over if
that was not extended; a server that starts again takes over its own at once. Whoever takes a claim
over makes the thing under the same name, so that there are never two, also if the holder was only
asleep: of two rows with one name the second is refused, and whoever is refused looks for what the
other has made. Where a name cannot be used again, as that of a sandbox that never ran, `clear`
makes sure that nothing comes of it any more before there is another name.

What is shown only once, such as an API key, is not stored: it is derived from a secret of the
server and a random number in the row, and so can be shown again until the row is forgotten. From
then on nobody can derive it any more, not even the server.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

from sandlot.server.ids import new_id
from sandlot.server.store.base import IdempotencyRows
from sandlot.server.store.records import IdempotencyRecord

from .audit import note
from .errors import HostUnavailableError, IdempotencyKeyConflictError, IdempotencyKeyUsedError
from .tasks import TaskGroup

__all__ = ["Claim", "Idempotency", "Keyed", "Terms"]

_REMEMBERED: Final = timedelta(hours=24)
_PURPOSE: Final = b"sandlot: secrets that are shown once"
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_RETRY_AFTER: Final = 1.0
_RENEWALS: Final = 3
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request with an idempotency key.

    Attributes:
        team_id: The team that it is for.
        owner: Who sent it; the same key of somebody else is another key.
        key: The key.
        fingerprint: What is the same for the same requests only.
    """

    team_id: str
    owner: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What something that is to be made will be called.

    Attributes:
        id: Its id.
        secret: 64 hexadecimal digits that nobody can guess, the same whenever it is asked for
            again: what it shows once can be made of them.
    """

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long claims are held and waited for, in seconds.

    Being wrong about a holder costs the work of one of two, nothing else. So a lease need not
    outlast everything, only what is usual: a disk or a database that stands still for some seconds.

    Attributes:
        lease: For how long a server holds a claim from when it last said so; it says so three
            times in that.
        margin: How much longer others wait, as their clocks may differ.
        patience: How long a request waits for another server: longer than until the claim of one
            that has died can be taken over, shorter than clients wait for an answer (30).
    """

    lease: float = 15.0
    margin: float = 5.0
    patience: float = 23.0


@dataclass(frozen=True, slots=True)
class _Running:
    fingerprint: str
    task: asyncio.Task[object]


_TERMS: Final = Terms()


class Idempotency:
    """Does each request once, however often it is sent, and to however many servers.

    What is being done is finished even if all requesters give up.

    Args:
        rows: The claims.
        secret: What secrets are derived from.
        holder: What this server is recognised by, in each of its lives.
        terms: How long it holds claims.
    """

    def __init__(
        self, rows: IdempotencyRows, secret: str, holder: str, terms: Terms = _TERMS
    ) -> None:
        self._rows = rows
        self._secret = hmac.digest(secret.encode(), _PURPOSE, "sha256")
        self._holder = holder
        self._terms = terms
        self._tasks = TaskGroup()
        self._running = dict[tuple[str, str, str], _Running]()
        self._closing = asyncio.Event()

    def unclaimed(self, prefix: str) -> Claim:
        """Return a name for something that is made without a key."""
        return Claim(new_id(prefix), secrets.token_hex(32))

    async def once(
        self,
        request: Keyed,
        prefix: str,
        make: Callable[[Claim], Awaitable[_T]],
        find: Callable[[Claim], Awaitable[_T | None]],
        *,
        clear: Callable[[Claim], Awaitable[bool]] | None = None,
        lasting: bool = False,
    ) -> _T:
        """Make something, or return what was made when the key was first seen.

        Args:
            request: The request.
            prefix: With what ids of such things begin.
            make: Makes the thing that is called like this, all or nothing; fails if there is one.
            find: Returns it; None if there is none, or nothing that is good for anything.
            clear: Makes sure that nothing comes of an attempt that broke off, and returns whether
                another one can be made under the same name; None if it always can.
            lasting: Whether `find` finds it as long as the key is remembered, whatever happens to
                it. Otherwise a note is made that it was there, so that it is not made again once it
                is removed.

        Raises:
            IdempotencyKeyConflictError: The key was used for another request.
            IdempotencyKeyUsedError: What was made is there no more.
            HostUnavailableError: Another server has been at it for too long.
        """
        place = (request.team_id, request.owner, request.key)
        while (running := self._running.get(place)) is not None:
            _check(running.fingerprint, request)
            _ = await asyncio.shield(running.task)
        work = _Work(prefix, make, find, clear or _always, lasting)
        task = self._tasks.start(self._run(request, work))
        self._running[place] = _Running(request.fingerprint, task)
        return await asyncio.shield(task)

    async def forget_old(self) -> None:
        """Forget the requests of more than a day ago."""
        await self._rows.remove_before(datetime.now(UTC) - _REMEMBERED)

    def stop_soon(self) -> None:
        """Wait for no other server any more: this one is about to stop."""
        self._closing.set()

    async def close(self) -> None:
        """Wait for what is being done."""
        self._closing.set()
        await self._tasks.finish()

    async def _run(self, request: Keyed, work: _Work[_T]) -> _T:
        try:
            return await self._perform(request, work)
        finally:  # before it is done: to wait for what is done already is not to wait at all
            del self._running[request.team_id, request.owner, request.key]

    async def _perform(self, request: Keyed, work: _Work[_T]) -> _T:
        wait = self._begin_waiting()
        while True:
            now = datetime.now(UTC)
            row = mine = IdempotencyRecord(
                team_id=request.team_id,
                owner=request.owner,
                key=request.key,
                fingerprint=request.fingerprint,
                resource_id=new_id(work.prefix),
                salt=secrets.token_hex(16),
                created_at=now,
                holder=self._holder,
                held_until=now + timedelta(seconds=self._terms.lease),
            )
            if (seen := await self._rows.claim(mine, now - _REMEMBERED)) != mine:
                _check(seen.fingerprint, request)
                if self._is_elsewhere(seen, now):
                    await wait()
                    continue
                made = await work.find(self._claim(seen))
                if made is not None:
                    note(repeated="true")
                    if not seen.is_done:
                        await self._rows.finish(seen)
                    return made
                if seen.is_done and not work.lasting:
                    raise IdempotencyKeyUsedError(
                        "This request was carried out, and what it made is there no more, or is not"
                        " shown again: use a new idempotency key."
                    )
                # Its server died between the claim and the deed, or nothing came of it.
                taken = await self._take(seen, mine, work)
                if taken is None:
                    continue
                row = taken
            holding = _Holding(self._rows, row, self._terms.lease, self._tasks)
            try:
                made = await work.make(self._claim(row))
            except BaseException as error:
                await holding.end()
                alone = seen == mine
                is_made = not alone and await work.find(self._claim(row)) is not None
                if not is_made and await self._let_go(row, alone=alone):
                    raise  # nothing came of it: it may be tried again
                if not isinstance(error, Exception):
                    raise
                _log.warning("A claim was lost to another server", extra={"reason": str(error)})
                continue
            await holding.end()
            finishing = self._tasks.start(self._rows.finish(row))
            if not work.lasting:
                await finishing
            return made

    def _is_elsewhere(self, row: IdempotencyRecord, now: datetime) -> bool:
        """Tell whether another server is at it, as far as one can know."""
        if row.is_done or row.holder in (None, self._holder) or row.held_until is None:
            return False
        return now < row.held_until + timedelta(seconds=self._terms.margin)

    def _begin_waiting(self) -> Callable[[], Awaitable[None]]:
        """Return what waits a little, more often than not until another server is done."""
        now = asyncio.get_running_loop().time
        give_up = now() + self._terms.patience
        pause = _FIRST_PAUSE

        async def wait() -> None:
            nonlocal pause
            if now() >= give_up or self._closing.is_set():
                raise HostUnavailableError(
                    "Another server is carrying out this request: send it again, with the same"
                    " idempotency key.",
                    _RETRY_AFTER,
                )
            try:
                async with asyncio.timeout(pause):
                    _ = await self._closing.wait()
            except TimeoutError:
                pause = min(pause * 1.5, _LONGEST_PAUSE)

        return wait

    async def _take(
        self, seen: IdempotencyRecord, mine: IdempotencyRecord, work: _Work[_T]
    ) -> IdempotencyRecord | None:
        """Take a claim over; return None if that is to be looked at again.

        Everything that servers do with a name begins with its claim and ends with a row of its own.
        So if the last holder is still at it, either it is done by now, or it will be refused.
        """
        taken = replace(mine, owner=seen.owner, resource_id=seen.resource_id, salt=seen.salt)
        if not await self._rows.take(seen, taken):
            return None
        try:
            is_free = await work.clear(self._claim(taken))
        except BaseException:
            _ = await self._let_go(taken, alone=False)
            raise
        if is_free:
            return taken
        if await work.find(self._claim(taken)) is not None:
            return None
        renamed = replace(taken, resource_id=mine.resource_id)
        return renamed if await self._rows.take(taken, renamed) else None

    async def _let_go(self, row: IdempotencyRecord, *, alone: bool) -> bool:
        """Give up a claim of which nothing came; return False if another server has it.

        Args:
            row: The claim.
            alone: Whether nobody had it before. Otherwise it stays, for all to take: the last
                holder may yet make a thing of that name.
        """
        if alone:
            return await self._rows.remove(row)
        return await self._rows.hold(row, row.created_at - _REMEMBERED)

    def _claim(self, row: IdempotencyRecord) -> Claim:
        text = f"{row.salt}:{row.resource_id}".encode()
        return Claim(row.resource_id, hmac.digest(self._secret, text, "sha256").hex())


@dataclass(frozen=True, slots=True)
class _Work(Generic[_T]):
    """What `once` is asked to do."""

    prefix: str
    make: Callable[[Claim], Awaitable[_T]]
    find: Callable[[Claim], Awaitable[_T | None]]
    clear: Callable[[Claim], Awaitable[bool]]
    lasting: bool


class _Holding:
    """Extends a claim until it is told to end.

    Should it come too late, because the process or the database stood still, and another server
    have the claim by now, it changes nothing: that shows when the thing is made.
    """

    def __init__(
        self, rows: IdempotencyRows, row: IdempotencyRecord, lease: float, tasks: TaskGroup
    ) -> None:
        self._rows = rows
        self._row = row
        self._lease = lease
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self._wait()

    async def end(self) -> None:
        """Extend it no further."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            _ = await asyncio.wait([self._task])

    def _wait(self, _task: object = None) -> None:
        if not self._over:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._lease / _RENEWALS, self._begin)

    def _begin(self) -> None:
        self._task = self._tasks.start(self._extend())
        self._task.add_done_callback(self._wait)

    async def _extend(self) -> None:
        until = datetime.now(UTC) + timedelta(seconds=self._lease)
        try:
            self._over = not await self._rows.hold(self._row, until) or self._over
        except Exception:
            _log.exception("A claim could not be extended, trying again")


async def _always(_claim: Claim) -> bool:
    return True


def _check(known: str, request: Keyed) -> None:
    if known != request.fingerprint:
        raise IdempotencyKeyConflictError(
            "This idempotency key was used for a different request: use a new key."
        )
