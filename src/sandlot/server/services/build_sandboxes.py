"""The sandboxes that builds take place in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sandlot.server.store.builds import BuildRecord, BuildRows

from .errors import HostUnavailableError, NotFoundError, ServiceError
from .new_sandboxes import NewSandbox
from .sandboxes import Sandboxes
from .snapshots import Snapshots

__all__ = ["BuildSandboxes", "NewBuild"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewBuild:
    """What is to be built; zeros are for what the base template has.

    Attributes:
        archive: Digest of the files that came with it; None if none did.
    """

    name: str
    recipe: Sequence[str]
    base_template: str = "minimal"
    healthcheck: str | None = None
    vcpus: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    network: str = "none"
    archive: str | None = None


class BuildSandboxes:
    """What sandboxes of builds are like, and how they go.

    Args:
        rows: The builds.
        sandboxes: All sandboxes.
        snapshots: What they begin with.
    """

    def __init__(self, rows: BuildRows, sandboxes: Sandboxes, snapshots: Snapshots) -> None:
        self._rows = rows
        self._sandboxes = sandboxes
        self._snapshots = snapshots

    async def base(self, team_id: str, wanted: NewBuild) -> NewSandbox:
        """Return what the sandbox of a build shall be like."""
        base = await self._snapshots.starting_point(team_id, wanted.base_template, None)
        return replace(
            base,
            vcpus=wanted.vcpus or base.vcpus,
            memory_mb=wanted.memory_mb or base.memory_mb,
            disk_mb=wanted.disk_mb or base.disk_mb,
            network=wanted.network,
        )

    async def remove(self, record: BuildRecord) -> bool:
        """Remove the sandbox of a build; return False if it is on the host of another server."""
        assert record.sandbox_id is not None
        try:
            await self._sandboxes.destroy(record.team_id, record.sandbox_id)
        except HostUnavailableError:
            return False
        except NotFoundError:
            pass  # it was never made
        except ServiceError as error:
            _log.warning("The sandbox of a build is left: %s", error, extra={"build_id": record.id})
        return True

    async def remove_leftovers(self) -> None:
        """Remove those of builds that others have ended while this server was away."""
        for live in self._sandboxes.live:
            if (build_id := live.record.metadata.get("build")) is not None:
                record = await self._rows.get(build_id)
                if record is not None and record.sandbox_id == live.record.id:
                    _ = await self.remove(record)
