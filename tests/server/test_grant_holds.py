"""Holding a right: what is cancelled, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandlot.server.api.following import say_last
from sandlot.server.grants import Grant, Grants
from sandlot.server.services.errors import UnauthorizedError
from sandlot.server.services.principals import Principal


class Desk:
    """An authenticator for which somebody has just lost their rights."""

    def __init__(self) -> None:
        self.changes = 1
        self.changed = asyncio.Event()

    async def confirm(self, _credential: object) -> Principal:
        raise UnauthorizedError("Gone.")


def run_held(since: int, work: Callable[[Grants, Grant], Awaitable[None]]) -> None:
    """Have somebody do something who was looked up when there had been so many changes."""

    async def run() -> None:
        desk: Any = Desk()
        grants = Grants(desk)
        watching = asyncio.create_task(grants.watch())
        grant = grants.grant(Principal("user", credential="key"), since, lambda _caller: None)
        try:
            await work(grants, grant)
        finally:
            _ = watching.cancel()
        assert grants.count == 0

    asyncio.run(run())


def test_rights_that_end_while_they_are_looked_up() -> None:
    """What was found out before a change is looked at again, however late it begins."""

    async def work(_grants: Grants, grant: Grant) -> None:
        with (
            pytest.raises(UnauthorizedError, match=r"Gone\. Nothing was done"),
            grant.held(begun=False),
        ):
            await asyncio.sleep(60)
        assert grant.lost

    run_held(0, work)


def test_rights_of_which_nothing_is_new() -> None:
    async def work(grants: Grants, grant: Grant) -> None:
        with grant.held():
            await asyncio.sleep(0.1)  # no harm if it were less: then there is less to see
            assert grants.count == 1
        assert not grant.lost

    run_held(1, work)


def test_work_that_is_cancelled_by_others() -> None:
    async def work(_grants: Grants, grant: Grant) -> None:
        task = asyncio.current_task()
        assert task is not None
        _ = task.cancel()
        with pytest.raises(asyncio.CancelledError), grant.held():
            await asyncio.sleep(60)
        assert task.uncancel() == 0
        assert not grant.lost

    run_held(1, work)


def test_work_that_does_not_mind() -> None:
    """What is done all the same leaves no cancellation behind that would hit something else."""

    async def work(_grants: Grants, grant: Grant) -> None:
        task = asyncio.current_task()
        assert task is not None
        with grant.held():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            assert task.cancelling() == 1
        assert task.cancelling() == 0
        assert not grant.lost

    run_held(0, work)


class DeafSocket:
    """A WebSocket of a client that takes nothing any more."""

    async def send(self, _message: object) -> None:
        _ = await asyncio.Event().wait()


def test_clients_that_do_not_listen_when_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for them, as they have no right to anything any more."""
    monkeypatch.setattr("sandlot.server.api.following._FAREWELL", 0.01)
    socket: Any = DeafSocket()
    error = UnauthorizedError("Gone.")
    error.midway = True
    with pytest.raises(TimeoutError):
        asyncio.run(say_last(socket, {}, error))
