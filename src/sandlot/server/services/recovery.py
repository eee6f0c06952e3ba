"""What becomes of sandboxes when a server starts: some outlived the last one, some did not."""

from __future__ import annotations

import asyncio
import logging

from sandlot.server.engine.base import Engine, EngineError, SandboxHandle
from sandlot.server.store.base import SandboxRows
from sandlot.server.store.records import SandboxRecord

from .lifecycle import move
from .lives import Lives
from .machines import Machines

__all__ = ["recover"]

_LOST = "The server ended without warning, and the sandbox with it."
_UNFINISHED = "The server ended while the sandbox was being made."
_PATIENCE = 30.0
_log = logging.getLogger(__name__)


async def recover(rows: SandboxRows, engine: Engine, lives: Lives, machines: Machines) -> None:
    """Make rows and sandboxes agree.

    What was running or paused, by its row, is so again. What was still being made, or is not known
    to anybody, is removed, and rows without a sandbox say so. It may be broken off at any point,
    and is right when it is done again.

    Raises:
        EngineError: What is to be removed cannot be.
    """
    handles = {handle.id: handle for handle in await engine.adopt()}
    records = {record.id: record for record in await rows.living(machines.hosts)}
    wanted = {
        sandbox_id: handle
        for sandbox_id, handle in handles.items()
        if sandbox_id in records and records[sandbox_id].status in ("running", "paused")
    }
    agreements = [_agree(records[sandbox_id], handle) for sandbox_id, handle in wanted.items()]
    results = await asyncio.gather(*agreements)
    kept = {sandbox_id for sandbox_id, good in zip(wanted, results, strict=True) if good}
    _ = await asyncio.gather(*(engine.destroy(each) for each in handles.keys() - kept))
    for sandbox_id, record in records.items():
        if sandbox_id in kept:
            _ = await lives.enter(record, handles[sandbox_id])
        elif record.status == "pending":
            _ = await rows.save(move(record, "fail", _UNFINISHED))
        else:
            lost = move(record, "lose", _LOST)
            _ = await rows.save(lost, until=machines.last_seen)  # who knows how long it ran on
            lives.tell("lose", lost)
    if kept:
        _log.info("Sandboxes were taken over from the last server", extra={"count": len(kept)})
    if missing := len(records) - len(kept):
        _log.warning("Sandboxes were lost with the last server", extra={"count": missing})


async def _agree(record: SandboxRecord, handle: SandboxHandle) -> bool:
    """Have a sandbox run or rest as its row says; return whether it does.

    The last server may have died between the deed and the note.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            await (handle.pause() if record.status == "paused" else handle.resume())
    except (EngineError, TimeoutError) as error:
        _log.warning("A sandbox cannot be taken over: %s", error, extra={"sandbox_id": record.id})
        return False
    return True
