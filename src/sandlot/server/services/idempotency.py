"""Requests that may be sent again without further effect.

A request with a key claims it first: a row says what the thing will be called before anything is
made. Whoever sends the request again, to this server or to the next one after a crash, is given the
thing of that name; if there is none, nothing came of the first attempt, and it is made.

What is shown only once, such as an API key, is not stored: it is derived from a secret of the
server and a random number in the row, and so can be shown again until the row is forgotten. From
then on nobody can derive it any more, not even the server.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from sandlot.server.ids import new_id
from sandlot.server.store.base import IdempotencyRows
from sandlot.server.store.records import IdempotencyRecord

from .audit import note
from .errors import IdempotencyKeyConflictError, IdempotencyKeyUsedError
from .tasks import TaskGroup

__all__ = ["Claim", "Idempotency", "Keyed"]

_REMEMBERED: Final = timedelta(hours=24)
_PURPOSE: Final = b"sandlot: secrets that are shown once"
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
class _Running:
    fingerprint: str
    task: asyncio.Task[object]


class Idempotency:
    """Does each request once, however often it is sent.

    What is being done is finished even if all requesters give up.
    """

    def __init__(self, rows: IdempotencyRows, secret: str) -> None:
        self._rows = rows
        self._secret = hmac.digest(secret.encode(), _PURPOSE, "sha256")
        self._tasks = TaskGroup()
        self._running = dict[tuple[str, str, str], _Running]()

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
        lasting: bool = False,
    ) -> _T:
        """Make something, or return what was made when the key was first seen.

        Args:
            request: The request.
            prefix: With what ids of such things begin.
            make: Makes the thing that is called like this.
            find: Returns it; None if there is none, or nothing that is good for anything.
            lasting: Whether `find` finds it as long as the key is remembered, whatever happens to
                it. Otherwise a note is made that it was there, so that it is not made again once it
                is removed.

        Raises:
            IdempotencyKeyConflictError: The key was used for another request.
            IdempotencyKeyUsedError: What was made is there no more.
        """
        place = (request.team_id, request.owner, request.key)
        while (running := self._running.get(place)) is not None:
            _check(running.fingerprint, request)
            _ = await asyncio.shield(running.task)
        task = self._tasks.start(self._run(request, prefix, make, find, lasting=lasting))
        self._running[place] = _Running(request.fingerprint, task)
        return await asyncio.shield(task)

    async def forget_old(self) -> None:
        """Forget the requests of more than a day ago."""
        await self._rows.remove_before(datetime.now(UTC) - _REMEMBERED)

    async def close(self) -> None:
        """Wait for what is being done."""
        await self._tasks.finish()

    async def _run(
        self,
        request: Keyed,
        prefix: str,
        make: Callable[[Claim], Awaitable[_T]],
        find: Callable[[Claim], Awaitable[_T | None]],
        *,
        lasting: bool,
    ) -> _T:
        try:
            return await self._perform(request, prefix, make, find, lasting=lasting)
        finally:  # before it is done: to wait for what is done already is not to wait at all
            del self._running[request.team_id, request.owner, request.key]

    async def _perform(
        self,
        request: Keyed,
        prefix: str,
        make: Callable[[Claim], Awaitable[_T]],
        find: Callable[[Claim], Awaitable[_T | None]],
        *,
        lasting: bool,
    ) -> _T:
        now = datetime.now(UTC)
        mine = IdempotencyRecord(
            team_id=request.team_id,
            owner=request.owner,
            key=request.key,
            fingerprint=request.fingerprint,
            resource_id=new_id(prefix),
            salt=secrets.token_hex(16),
            created_at=now,
        )
        while (row := await self._rows.claim(mine, now - _REMEMBERED)) != mine:
            _check(row.fingerprint, request)
            made = await find(self._claim(row))
            if made is not None:
                note(repeated="true")
                if not (lasting or row.is_done):
                    await self._rows.finish(row)
                return made
            if row.is_done:
                raise IdempotencyKeyUsedError(
                    "This request was carried out, and what it made is there no more, or is not"
                    " shown again: use a new idempotency key."
                )
            # The last server died between the claim and the deed, or nothing came of it.
            await self._rows.remove(row)
        try:
            made = await make(self._claim(mine))
        except BaseException:
            await self._rows.remove(mine)  # nothing came of it: it may be tried again
            raise
        if not lasting:
            await self._rows.finish(mine)
        return made

    def _claim(self, row: IdempotencyRecord) -> Claim:
        text = f"{row.salt}:{row.resource_id}".encode()
        return Claim(row.resource_id, hmac.digest(self._secret, text, "sha256").hex())


def _check(known: str, request: Keyed) -> None:
    if known != request.fingerprint:
        raise IdempotencyKeyConflictError(
            "This idempotency key was used for a different request: use a new key."
        )
