"""Requests that may be sent again without further effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from sandlot.server.store.base import IdempotencyRows
from sandlot.server.store.records import IdempotencyRecord

from .errors import IdempotencyKeyConflictError
from .tasks import TaskGroup

__all__ = ["Idempotency"]

_REMEMBERED = timedelta(hours=24)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Running(Generic[_T]):
    fingerprint: str
    task: asyncio.Task[_T]


class Idempotency(Generic[_T]):
    """Does each request once, however often it is sent.

    What is being done is finished even if all requesters give up.
    """

    def __init__(self, rows: IdempotencyRows, new_id: Callable[[], str]) -> None:
        self._rows = rows
        self._new_id = new_id
        self._tasks = TaskGroup()
        self._running = dict[tuple[str, str], _Running[_T]]()

    async def once(
        self,
        team_id: str,
        key: str,
        fingerprint: str,
        make: Callable[[str], Awaitable[_T]],
        find: Callable[[str], Awaitable[_T | None]],
    ) -> _T:
        """Make something, or return what was made when the key was first seen.

        Args:
            team_id: Whose key it is.
            key: The key.
            fingerprint: What is the same for the same requests only.
            make: Makes the thing, with the id it is given.
            find: Returns the thing of an id.

        Raises:
            IdempotencyKeyConflictError: The key was used for another request.
        """
        running = self._running.get((team_id, key))
        if running is None:
            work = self._perform(team_id, key, fingerprint, make, find)
            running = _Running(fingerprint, self._tasks.start(work))
            self._running[team_id, key] = running
        _check(running.fingerprint, fingerprint)
        return await asyncio.shield(running.task)

    async def forget_old(self) -> None:
        """Forget the requests of more than a day ago."""
        await self._rows.remove_before(datetime.now(UTC) - _REMEMBERED)

    async def close(self) -> None:
        """Wait for what is being done."""
        await self._tasks.finish()

    async def _perform(
        self,
        team_id: str,
        key: str,
        fingerprint: str,
        make: Callable[[str], Awaitable[_T]],
        find: Callable[[str], Awaitable[_T | None]],
    ) -> _T:
        try:
            now = datetime.now(UTC)
            seen = await self._rows.find(team_id, key)
            if seen is not None and now - seen.created_at < _REMEMBERED:
                _check(seen.fingerprint, fingerprint)
                # Nothing is found if the server died between the note and the deed.
                if (made := await find(seen.resource_id)) is not None:
                    return made
            resource_id = self._new_id()
            await self._rows.put(
                IdempotencyRecord(team_id, key, fingerprint, resource_id, created_at=now)
            )
            try:
                return await make(resource_id)
            except BaseException:
                await self._rows.remove(team_id, key)  # nothing came of it: it may be tried again
                raise
        finally:
            del self._running[team_id, key]


def _check(known: str, fingerprint: str) -> None:
    if known != fingerprint:
        raise IdempotencyKeyConflictError(
            "This idempotency key was used for a different request: use a new key."
        )
