"""Capturing the files of a sandbox, and forgetting them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import UTC, datetime

from sandlot.server.engine.base import Engine, EngineError, SnapshotSize
from sandlot.server.store.records import SnapshotRecord

from .live import LiveSandbox
from .problems import engine_errors

__all__ = ["capture", "drop", "hold"]

_log = logging.getLogger(__name__)


async def capture(live: LiveSandbox, snapshot_id: str, name: str | None = None) -> SnapshotRecord:
    """Capture the files of a running or paused sandbox, which goes on, and count them."""
    counting = await hold(live, snapshot_id)
    with engine_errors():
        size = await counting
    sandbox = live.record
    return SnapshotRecord(
        id=snapshot_id,
        team_id=sandbox.team_id,
        template=sandbox.template,
        vcpus=sandbox.vcpus,
        memory_mb=sandbox.memory_mb,
        disk_mb=sandbox.disk_mb,
        size_bytes=size.total_bytes,
        created_at=datetime.now(UTC),
        name=name,
        setup=sandbox.setup,
        host_id=sandbox.host_id,
    )


async def hold(live: LiveSandbox, snapshot_id: str) -> Awaitable[SnapshotSize]:
    """Capture the files of a running or paused sandbox, which goes on."""
    async with live.lock:
        live.require("running", "paused")
        with engine_errors():
            return await live.handle.snapshot(snapshot_id)


async def drop(engine: Engine, snapshot_id: str) -> None:
    """Have the engine forget what was captured; if it cannot, the next start tries again."""
    try:
        await engine.delete_snapshot(snapshot_id)
    except EngineError as error:
        _log.warning(
            "Files of a snapshot could not be removed",
            extra={"snapshot_id": snapshot_id, "reason": str(error)},
        )
