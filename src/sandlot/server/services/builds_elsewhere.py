"""Builds that other servers of the database have accepted: what their rows tell.

A build belongs to the server that accepted it, which has the files that came along, and what waits
in its queue. It alone goes on with it, in each of its lives. Others read its rows; and when it is
not there any more they can say in them that the build has ended, which it finds if it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from sandlot.server.store.builds import BuildRecord, BuildRows

from .build_log import BuildLog
from .errors import HostUnavailableError
from .machines import Machines

__all__ = ["FINISHED", "BuildsElsewhere", "ended"]

FINISHED: Final = ("success", "failed", "cancelled")
"""Statuses of builds that have ended."""
_PAUSE = 1.0


class BuildsElsewhere:
    """The builds of other servers.

    Args:
        rows: Their rows.
        machines: The hosts of this server.
    """

    def __init__(self, rows: BuildRows, machines: Machines) -> None:
        self._rows = rows
        self._machines = machines

    async def current(self, record: BuildRecord) -> BuildRecord:
        """Return what is known of a build: how far it is stands in its log."""
        if record.status != "running":
            return record
        return replace(record, current_step=len((await self.log(record.id)).steps))

    async def log(self, build_id: str) -> BuildLog:
        """Return the log of a build as it was last written."""
        return BuildLog(await self._rows.log(build_id))

    async def wait(
        self, build_id: str, offset: int, seconds: float, is_over: Callable[[], bool]
    ) -> None:
        """Wait for something to come after a place in the log, or for the end.

        Args:
            build_id: Of which build.
            offset: How many characters were read before.
            seconds: How long to wait.
            is_over: Whether to wait no longer.
        """
        now = asyncio.get_running_loop().time
        give_up = now() + seconds
        while (left := give_up - now()) > 0 and not is_over():
            record = await self._rows.get(build_id)
            if record is None or record.status in FINISHED:
                return
            if (await self.log(build_id)).size > offset:
                return
            await asyncio.sleep(min(left, _PAUSE))

    async def cancel(self, record: BuildRecord) -> bool:
        """End a build whose server is not there; return False if it has ended.

        Raises:
            HostUnavailableError: Its server is there, and has to be asked.
        """
        if record.status in FINISHED:
            return False
        host_id = record.host_id
        if host_id not in self._machines.hosts and await self._machines.is_there(host_id):
            raise HostUnavailableError(f"The build is at the host {host_id}: ask the server there.")
        return await self._rows.save(ended(record, "cancelled", None))


def ended(record: BuildRecord, status: str, problem: str | None) -> BuildRecord:
    """Return what a build is once it has ended."""
    return replace(record, status=status, error=problem, completed_at=datetime.now(UTC))
