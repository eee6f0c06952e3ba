"""All rows of a database."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from ..base import StoreUnavailableError
from .audit import SqlAudit
from .builds import SqlBuilds
from .census import SqlCensus
from .channels import SqlChannels, SqlDeliveries
from .database import Database
from .hosts import SqlHosts
from .idempotency import SqlIdempotency
from .keys import SqlKeys
from .sandboxes import SqlSandboxes
from .snapshots import SqlSnapshots
from .stats import SqlStats
from .teams import SqlTeams
from .usage import SqlUsage
from .users import SqlUsers

__all__ = ["SqlStore"]


class SqlStore:
    """All rows, in a database."""

    def __init__(self, database: Database) -> None:
        self.sandboxes = SqlSandboxes(database)
        self.snapshots = SqlSnapshots(database)
        self.users = SqlUsers(database)
        self.teams = SqlTeams(database)
        self.keys = SqlKeys(database)
        self.census = SqlCensus(database)
        self.audit = SqlAudit(database)
        self.idempotency = SqlIdempotency(database)
        self.stats = SqlStats(database)
        self.builds = SqlBuilds(database)
        self.channels = SqlChannels(database)
        self.deliveries = SqlDeliveries(database)
        self.hosts = SqlHosts(database)
        self.usage = SqlUsage(database)
        self._database = database

    @classmethod
    async def open(cls, url: str) -> SqlStore:
        """Connect, and bring the tables up to date.

        Raises:
            StoreUnavailableError: The database cannot be used.
        """
        try:
            return cls(await Database.open(url))
        except (SQLAlchemyError, ImportError) as error:
            # The first line only: what follows may quote the URL, and with it a password.
            reason = str(error).partition("\n")[0]
            raise StoreUnavailableError(f"the database cannot be used: {reason}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()
