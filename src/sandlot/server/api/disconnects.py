"""Work that is only worth doing for as long as somebody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

__all__ = ["while_connected"]

_T = TypeVar("_T")


async def while_connected(request: Request, work: Coroutine[object, object, _T]) -> _T:
    """Do the work, cancelling it when the requester hangs up; the body must have been read.

    Raises:
        ClientDisconnect: The requester hung up. What the work then does to undo itself is done.
    """
    task = asyncio.create_task(work)
    # After the body the server has nothing more to say than that the connection is gone.
    gone = asyncio.ensure_future(request.receive())
    try:
        _ = await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        _ = gone.cancel()
        if not task.done():
            _ = task.cancel()
            _ = await asyncio.wait([task])
            if not task.cancelled():
                _ = task.exception()
