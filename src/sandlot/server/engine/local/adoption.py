"""Taking over the sandboxes of an engine that was killed from the zygote that kept them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from pathlib import Path

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import wire

from . import records
from .agent import AgentClient
from .cgroups import Cgroups
from .channel import socket_pair
from .records import Record, RecordError, StoredRecord
from .territory import Territory
from .zygote import Legacy, Zygote

__all__ = ["adopt"]

logger = logging.getLogger("sandlot.server.engine")


async def adopt(
    zygote: Zygote, legacy: Legacy, territory: Territory, cgroups: Cgroups
) -> Sequence[Record]:
    """Return the sandboxes that can go on, and remove all others with what is left of them.

    Nothing is waited for that sandboxes do: agents hear of it when they can. It may be broken off
    at any point, and begun again by the next server.

    Raises:
        EngineError: What cannot go on cannot be removed.
    """
    found: dict[str, StoredRecord] = {}
    ids: set[str] = set()
    for name in legacy.sandboxes:
        try:
            stored = _read(territory.sandboxes / name)
        except RecordError as error:
            logger.warning("a sandbox cannot be taken over: %s", error, extra={"sandbox": name})
            continue
        if stored.spec.id not in ids:
            ids.add(stored.spec.id)
            found[name] = stored
    deaths: list[Awaitable[None]] = []
    for name in {*legacy.doomed, *legacy.sandboxes} - found.keys():
        deaths.append(zygote.destroy(name))
        group = cgroups.find(name)
        if group is not None:
            group.release()  # after the kill was sent: what is frozen does not die
    _ = await asyncio.gather(*deaths)
    try:
        await asyncio.to_thread(cgroups.clear, found.keys())
        await territory.clear(found.keys())
        return [
            _attach(
                zygote,
                name,
                stored,
                territory.sandboxes / name,
                cgroups,
                wire.optional_integer(legacy.generations, name),
            )
            for name, stored in found.items()
        ]
    except OSError as error:
        raise EngineError(f"the sandboxes could not be taken over: {error.strerror}") from error


def _read(directory: Path) -> StoredRecord:
    stored = records.load(directory)
    if not records.is_id(directory.name):
        raise RecordError("there can be no sandbox of that name")
    if stored.uid is not None and stored.uid <= 0:
        raise RecordError("the record names a user that no sandbox is")
    return stored


def _attach(
    zygote: Zygote,
    name: str,
    stored: StoredRecord,
    directory: Path,
    cgroups: Cgroups,
    generation: int | None,
) -> Record:
    mine, theirs = socket_pair()
    with theirs:
        record = Record(
            name,
            stored.spec,
            directory,
            AgentClient(mine, adopted=True),
            uid=stored.uid,
            group=cgroups.find(name, stored.cgroups),
            notes=stored.notes,
            generation=generation,
        )
        zygote.reattach(name, theirs)
    return record
