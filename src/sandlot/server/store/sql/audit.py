"""Queries about the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select, tuple_

from ..identity_records import AuditFilter, AuditRecord
from .database import Database
from .tables import audit_log

__all__ = ["SqlAudit"]


class SqlAudit:
    """The rows of the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Add rows."""
        rows = [
            {column.name: getattr(record, column.name) for column in audit_log.columns}
            | {"metadata": dict(record.metadata)}
            for record in records
        ]
        async with self._database.begin() as connection:
            _ = await connection.execute(insert(audit_log), rows)

    async def list(self, team_id: str, wanted: AuditFilter) -> Sequence[AuditRecord]:
        """Return rows of a team, newest first."""
        columns = audit_log.c
        query = select(audit_log).where(columns.team_id == team_id)
        if wanted.resource_types:
            query = query.where(columns.resource_type.in_(wanted.resource_types))
        if wanted.actions:
            query = query.where(columns.action.in_(wanted.actions))
        if not wanted.with_admin:
            query = query.where(columns.scope != "admin")
        if wanted.before is not None:
            # As a row value, so that the index leads to the place.
            query = query.where(tuple_(columns.created_at, columns.id) < wanted.before)
        query = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(wanted.limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [AuditRecord(**row) for row in rows]

    async def remove_before(self, time: datetime) -> None:
        """Forget rows older than that."""
        async with self._database.begin() as connection:
            _ = await connection.execute(delete(audit_log).where(audit_log.c.created_at < time))
