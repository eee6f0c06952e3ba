"""Rows as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from .setups import Setup

__all__ = [
    "LIVE_STATUSES",
    "IdempotencyRecord",
    "SandboxFilter",
    "SandboxRecord",
    "SnapshotRecord",
    "StatsSample",
]

LIVE_STATUSES: Final = ("pending", "starting", "running", "paused", "missing", "hibernated")
"""Statuses of sandboxes that are not gone."""


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """What is known of a sandbox; the fields mean what they mean in the contract."""

    id: str
    team_id: str
    status: str
    template: str
    vcpus: int
    memory_mb: int
    disk_mb: int
    timeout_sec: int
    network: str
    created_at: datetime
    last_updated: datetime
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    on_timeout: str = "pause"
    max_lifetime_sec: int = 0
    lease_sec: int = 0
    lease_expires_at: datetime | None = None
    snapshot: str | None = None
    host_id: str | None = None
    status_reason: str | None = None
    started_at: datetime | None = None
    last_active_at: datetime | None = None
    setup: Setup | None = None


@dataclass(frozen=True, slots=True)
class SandboxFilter:
    """Which sandboxes to list.

    Attributes:
        before: Only those older than the one with this time of creation and id.
    """

    status: str | None = None
    template: str | None = None
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    before: tuple[datetime, str] | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """Files of a sandbox at one time.

    Attributes:
        id: What the engine knows it by.
        template: The engine's template beneath the files.
        name: What users know it by; a checkpoint need not have one.
        sandbox_id: The sandbox that it is a checkpoint of, and goes with; None if it stands alone.
        host_id: Where the files are.
        setup: What sandboxes get besides the files.
        platform: It is a template for all teams, whichever has the row.
    """

    id: str
    team_id: str
    template: str
    vcpus: int
    memory_mb: int
    disk_mb: int
    size_bytes: int
    created_at: datetime
    name: str | None = None
    sandbox_id: str | None = None
    setup: Setup | None = None
    platform: bool = False
    host_id: str | None = None


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What came of a request with an idempotency key.

    Attributes:
        owner: Who sent it; empty in rows of servers that did not tell owners apart.
        salt: What secrets of the thing are derived from, together with one of the server.
        is_done: Whether the thing is known to have been there.
        holder: The server that makes the thing, or was about to; None in rows of servers that did
            not say so.
        held_until: When others may take the claim over, unless the holder extends that.
    """

    team_id: str
    owner: str
    key: str
    fingerprint: str
    resource_id: str
    created_at: datetime
    salt: str = ""
    is_done: bool = False
    holder: str | None = None
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatsSample:
    """What a team ran at one time.

    Attributes:
        sampled_at: Seconds since 1970.
    """

    sampled_at: int
    running: int
    vcpus: int
    memory_mb: int
