"""What a store must do.

There are two: one in a database, and one in memory for servers that leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from .builds import BuildRows
from .census import CensusRows
from .channels import ChannelRows, DeliveryRows
from .hosts import HostRows
from .identity import AuditRows, KeyRows, TeamRows, UserRows
from .records import (
    LIVE_STATUSES,
    IdempotencyRecord,
    SandboxFilter,
    SandboxRecord,
    SnapshotRecord,
    StatsSample,
)
from .usage import UsageRows

__all__ = [
    "IdempotencyRows",
    "NameTakenError",
    "SandboxRows",
    "SnapshotRows",
    "StatsRows",
    "Store",
    "StoreUnavailableError",
]


class StoreUnavailableError(Exception):
    """The store cannot be opened; the message says why."""


class NameTakenError(Exception):
    """A live sandbox, a snapshot or a channel of the team has this name."""


class SandboxRows(Protocol):
    """The rows of all sandboxes there ever were."""

    async def add(self, record: SandboxRecord) -> None:
        """Add a row.

        Raises:
            NameTakenError: A live sandbox of the team has this name.
        """
        ...

    async def save(
        self,
        record: SandboxRecord,
        *,
        until: datetime | None = None,
        only: Collection[str] = LIVE_STATUSES,
    ) -> bool:
        """Write what can change of a sandbox: its status, its times and its host.

        If it ceases to run thereby, what it has used is added to the usage of its team. What is
        gone stays gone, whoever said so first.

        Args:
            record: The sandbox.
            until: When it ceased to run; when the record says that it changed, if None.
            only: What its status must be.

        Returns:
            Whether it was written.
        """
        ...

    async def save_activity(self, times: Mapping[str, datetime]) -> None:
        """Write when sandboxes were last active, by their ids."""
        ...

    async def get(self, team_id: str, sandbox_id: str) -> SandboxRecord | None:
        """Return the sandbox of this id, if the team has it."""
        ...

    async def list(self, team_id: str, wanted: SandboxFilter) -> Sequence[SandboxRecord]:
        """Return sandboxes, newest first; without the gone ones unless a status is wanted."""
        ...

    async def living(self, hosts: Collection[str] | None = None) -> Sequence[SandboxRecord]:
        """Return all that count as live, of all teams.

        Args:
            hosts: Only those on these hosts, and those of which it is not known where they are.
        """
        ...

    async def on_host(self, host_id: str) -> Sequence[SandboxRecord]:
        """Return all that count as live on a host, of all teams, in order of their ids."""
        ...

    async def mark_gone(
        self, reason: str, time: datetime, hosts: Collection[str] | None = None
    ) -> int:
        """Mark all that `living` returns as stopped, and return how many there were."""
        ...


class SnapshotRows(Protocol):
    """The rows of snapshots and checkpoints."""

    async def add(self, record: SnapshotRecord) -> None:
        """Add a row.

        Raises:
            NameTakenError: The team has a snapshot of this name.
        """
        ...

    async def replace(self, record: SnapshotRecord) -> SnapshotRecord | None:
        """Add a row in the place of the team's snapshot of the same name; return that one."""
        ...

    async def find(self, team_id: str, name: str) -> SnapshotRecord | None:
        """Return the team's snapshot of this name."""
        ...

    async def get(self, snapshot_id: str) -> SnapshotRecord | None:
        """Return the snapshot or checkpoint of this id."""
        ...

    async def list(self, team_id: str) -> Sequence[SnapshotRecord]:
        """Return the team's snapshots, newest first, without checkpoints and platform templates."""
        ...

    async def find_platform(self, name: str) -> SnapshotRecord | None:
        """Return the platform template of this name."""
        ...

    async def platform(self) -> Sequence[SnapshotRecord]:
        """Return all platform templates, newest first."""
        ...

    async def checkpoints(self, sandbox_id: str) -> Sequence[SnapshotRecord]:
        """Return the checkpoints of a sandbox, newest first."""
        ...

    async def remove(self, snapshot_id: str) -> bool:
        """Remove a row; return whether there was one."""
        ...

    async def all(self) -> Sequence[SnapshotRecord]:
        """Return all snapshots and checkpoints of all teams."""
        ...


class IdempotencyRows(Protocol):
    """The rows of requests that carried an idempotency key."""

    async def claim(self, record: IdempotencyRecord, since: datetime) -> IdempotencyRecord:
        """Add a row unless one with this key is there that is not older than that; return which."""
        ...

    async def take(self, record: IdempotencyRecord, taken: IdempotencyRecord) -> bool:
        """Write a claim in the place of another on the same key, if that is still as it was seen.

        Returns:
            Whether it was; somebody may have been faster, or its holder have extended it.
        """
        ...

    async def hold(self, record: IdempotencyRecord, until: datetime) -> bool:
        """Write until when a claim is held; return whether its holder still has it."""
        ...

    async def finish(self, record: IdempotencyRecord) -> None:
        """Note that what the request made is there, or was; whoever holds the claim by now."""
        ...

    async def remove(self, record: IdempotencyRecord) -> bool:
        """Forget a request, unless somebody else has the claim; return whether it was there."""
        ...

    async def remove_before(self, time: datetime) -> None:
        """Forget all requests older than that."""
        ...


class StatsRows(Protocol):
    """The samples of what all teams ran."""

    async def add(self, samples: Mapping[str, StatsSample]) -> None:
        """Add a sample for each team."""
        ...

    async def remove_before(self, time: int) -> None:
        """Forget samples older than that."""
        ...

    async def peaks(self, team_id: str, since: int) -> StatsSample:
        """Return the highest values since then."""
        ...

    async def series(self, team_id: str, since: int, width: int) -> Sequence[StatsSample]:
        """Return the highest values of each bucket of `width` seconds, in order of time."""
        ...


class Store(Protocol):
    """All rows."""

    @property
    def sandboxes(self) -> SandboxRows:
        """Those of sandboxes."""
        ...

    @property
    def snapshots(self) -> SnapshotRows:
        """Those of snapshots and checkpoints."""
        ...

    @property
    def users(self) -> UserRows:
        """Those of users."""
        ...

    @property
    def teams(self) -> TeamRows:
        """Those of teams and their members."""
        ...

    @property
    def keys(self) -> KeyRows:
        """Those of API keys."""
        ...

    @property
    def census(self) -> CensusRows:
        """All teams and users."""
        ...

    @property
    def audit(self) -> AuditRows:
        """Those of the audit log."""
        ...

    @property
    def idempotency(self) -> IdempotencyRows:
        """Those of requests with an idempotency key."""
        ...

    @property
    def stats(self) -> StatsRows:
        """Those of what teams ran."""
        ...

    @property
    def builds(self) -> BuildRows:
        """Those of builds."""
        ...

    @property
    def channels(self) -> ChannelRows:
        """Those of channels."""
        ...

    @property
    def hosts(self) -> HostRows:
        """Those of hosts."""
        ...

    @property
    def usage(self) -> UsageRows:
        """Those of what teams used."""
        ...

    @property
    def deliveries(self) -> DeliveryRows:
        """Those of deliveries to channels."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...
