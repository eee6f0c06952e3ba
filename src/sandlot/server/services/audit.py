"""The audit log: who did what, and whether it succeeded.

Rows are collected and written together a moment later, so that requests need not wait for them;
reading the log and stopping the server write first what was collected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sandlot.server.ids import new_id
from sandlot.server.store.identity import AuditRows
from sandlot.server.store.identity_records import AuditFilter, AuditRecord

from .events import Event
from .principals import SYSTEM, Actor
from .tasks import TaskGroup

__all__ = ["AuditLog", "Audited", "Draft", "begin", "note"]

_DELAY = 0.1
_MOST_WAITING = 100_000
_LONGEST = 255
_LONGEST_NAME = 254
_log = logging.getLogger("sandlot.server")


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit log says of requests of one kind.

    Attributes:
        status: What it says if they succeed; of failures it says `error`.
        scope: `admin` for what only admins and owners of the team may read.
        resource: Name of the parameter of the path with the id.
    """

    resource_type: str
    action: str
    status: Literal["success", "info", "warning"] = "success"
    scope: Literal["team", "admin"] = "team"
    resource: str = "id"


_BY_ITSELF: Final[Mapping[str, Audited]] = {
    "capsule.paused": Audited("sandbox", "pause", "info"),
    "capsule.destroyed": Audited("sandbox", "destroy", "warning"),
    "host.up": Audited("host", "marked_up"),
    "host.down": Audited("host", "marked_down", "warning"),
}
"""What may happen without a request."""


@dataclass(slots=True)
class Draft:
    """A row that is written when the outcome of its request is known."""

    log: AuditLog
    what: Audited
    team_id: str
    actor: Actor
    resource_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    def finish(self, status: int | None, failure: str | None) -> None:
        """Hand in the row; the status is None if the request was not answered."""
        failed = status is None or status >= 400
        if failed:
            self.metadata["error"] = failure or ("disconnected" if status is None else str(status))
        if self.team_id:
            self.log.record(
                self.what, self.team_id, self.actor, self.resource_id, self.metadata, failed=failed
            )


_draft = ContextVar[Draft | None]("audit_draft", default=None)


def begin(draft: Draft) -> None:
    """Have `note` add to this row, in this task and in those that it starts."""
    _ = _draft.set(draft)


def note(
    resource_id: str | None = None,
    *,
    team_id: str | None = None,
    actor: Actor | None = None,
    **metadata: str,
) -> None:
    """Say more about the running request than its path does. Nothing secret, ever.

    Args:
        resource_id: Id of what it made.
        team_id: The team that it made, or that its caller belongs to.
        actor: Who does it, if they had no credential.
        metadata: What else is worth knowing.
    """
    draft = _draft.get()
    if draft is not None:
        draft.resource_id = resource_id or draft.resource_id
        draft.team_id = team_id or draft.team_id
        draft.actor = actor or draft.actor
        draft.metadata.update({key: value for key, value in metadata.items() if value})


class AuditLog:
    """Collects rows, writes them and reads them."""

    def __init__(self, rows: AuditRows, keep_days: int) -> None:
        self._rows = rows
        self._kept = timedelta(days=keep_days)
        self._waiting: list[AuditRecord] = []
        self._some = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks = TaskGroup()

    def record(
        self,
        what: Audited,
        team_id: str,
        actor: Actor,
        resource_id: str | None,
        metadata: Mapping[str, str],
        *,
        failed: bool = False,
    ) -> None:
        """Collect a row."""
        if len(self._waiting) >= _MOST_WAITING:
            _log.error("the audit log cannot be written fast enough: rows are lost")
            return
        self._waiting.append(
            AuditRecord(
                id=new_id("log"),
                team_id=team_id,
                actor_type=actor.type,
                actor_id=actor.id,
                actor_name=_cut(actor.name, _LONGEST_NAME),
                resource_type=what.resource_type,
                resource_id=_cut(resource_id, _LONGEST),
                action=what.action,
                scope=what.scope,
                status="error" if failed else what.status,
                created_at=datetime.now(UTC),
                metadata={key: _cut(value, _LONGEST) or "" for key, value in metadata.items()},
            )
        )
        self._some.set()

    def on_event(self, event: Event) -> None:
        """Collect a row for what happened without a request."""
        what = _BY_ITSELF.get(event.name)
        if what is not None and event.actor == SYSTEM:
            self.record(what, event.team_id, event.actor, event.resource.id, {})

    async def write(self) -> None:
        """Write what is collected, from now on and until cancelled."""
        while True:
            _ = await self._some.wait()
            await asyncio.sleep(_DELAY)
            try:
                await self.flush()
            except Exception:
                _log.exception("the audit log could not be written; it is tried again")

    async def flush(self) -> None:
        """Write what is collected now; that is finished even if the caller is cancelled."""
        await self._tasks.finished(self._flush())

    async def close(self) -> None:
        """Write what is left."""
        await self._tasks.finish()
        await self.flush()

    async def _flush(self) -> None:
        async with self._writing:
            rows, self._waiting = self._waiting, []
            if not rows:
                self._some.clear()
                return
            try:
                await self._rows.add(rows)
            except BaseException:
                self._waiting[:0] = rows
                raise
            if not self._waiting:
                self._some.clear()

    async def list(self, team_id: str, wanted: AuditFilter) -> Sequence[AuditRecord]:
        """Return rows of a team, newest first."""
        await self.flush()
        return await self._rows.list(team_id, wanted)

    async def forget_old(self) -> None:
        """Forget rows that are too old to be kept."""
        await self._rows.remove_before(datetime.now(UTC) - self._kept)


def _cut(text: str | None, length: int) -> str | None:
    """Return a text as databases take it: without NUL and halves of characters, not too long."""
    if text is None:
        return None
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:length]
