"""Builds of templates: their rows, and what a store must do with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

__all__ = ["BuildRecord", "BuildRows"]


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """A build; the fields mean what they mean in the contract.

    Attributes:
        team_id: The team of whoever asked for it, which its sandbox belongs to.
        recipe: The instructions as they were given.
        archive: Digest of the files that were sent along; None if there were none.
        status: `pending`, `running`, `success`, `failed` or `cancelled`.
        error: Why it failed.
        host_id: Where it takes place: the host of the server that accepted it; None in rows of
            servers that did not say so.
    """

    id: str
    team_id: str
    name: str
    base_template: str
    recipe: Sequence[str]
    status: str
    vcpus: int
    memory_mb: int
    disk_mb: int
    network: str
    created_at: datetime
    total_steps: int
    current_step: int = 0
    healthcheck: str | None = None
    archive: str | None = None
    error: str | None = None
    sandbox_id: str | None = None
    default_user: str | None = None
    default_cwd: str | None = None
    default_env: Mapping[str, str] = field(default_factory=dict[str, str])
    started_at: datetime | None = None
    completed_at: datetime | None = None
    host_id: str | None = None


class BuildRows(Protocol):
    """The rows of builds and their logs."""

    async def add(self, record: BuildRecord) -> None:
        """Add a row."""
        ...

    async def save(self, record: BuildRecord) -> bool:
        """Write what has become of a build, unless it has ended; return whether it was written."""
        ...

    async def adopt(self, build_id: str, host_id: str) -> bool:
        """Give a build that nobody has to a host; return whether nobody had it."""
        ...

    async def get(self, build_id: str) -> BuildRecord | None:
        """Return the build of this id."""
        ...

    async def list(
        self, before: tuple[datetime, str] | None, limit: int | None
    ) -> Sequence[BuildRecord]:
        """Return builds, newest first.

        Args:
            before: Only those older than the one with this time of creation and id.
            limit: How many at most.
        """
        ...

    async def unfinished(self, hosts: Collection[str | None]) -> Sequence[BuildRecord]:
        """Return those of these hosts that are pending or running, oldest first.

        Args:
            hosts: Which; None for those that no host has.
        """
        ...

    async def save_log(self, build_id: str, content: str) -> None:
        """Write the log of a build, in the place of what there is of it."""
        ...

    async def log(self, build_id: str) -> str | None:
        """Return the log of a build, as it was last written."""
        ...

    async def remove_before(self, time: datetime) -> None:
        """Forget finished builds older than that, and their logs."""
        ...
