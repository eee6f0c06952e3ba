"""What has to be closed is, if the task that waited for it is cancelled at any moment."""

from __future__ import annotations

import asyncio

import pytest

from sandlot.server.engine.local.handover import take


async def test_it_is_taken() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    given_up: list[int] = []
    taking = asyncio.create_task(take(future, given_up.append))
    await asyncio.sleep(0)
    future.set_result(5)
    assert (await taking, given_up) == (5, [])


@pytest.mark.parametrize("arrives", [True, False])
async def test_it_is_given_up_if_it_has_come(arrives: bool) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    given_up: list[int] = []
    taking = asyncio.create_task(take(future, given_up.append))
    await asyncio.sleep(0)
    if arrives:
        future.set_result(5)
    _ = taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        _ = await taking
    assert given_up == ([5] if arrives else [])
    assert future.cancelled() is not arrives


async def test_it_failed_and_nobody_waits() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    given_up: list[int] = []
    taking = asyncio.create_task(take(future, given_up.append))
    await asyncio.sleep(0)
    future.set_exception(ValueError())
    _ = taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        _ = await taking
    assert given_up == []
