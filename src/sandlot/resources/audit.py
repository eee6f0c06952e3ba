"""The audit log of the API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .. import models
from .._operations import audit
from .._resource import AsyncResource, Resource
from .pages import AsyncPage, AsyncPageRequest, Page

__all__ = ["AsyncAudit", "Audit"]


class Audit(Resource):
    """Read who did what in the team."""

    def list(
        self,
        *,
        resource_type: str | Sequence[str] | None = None,
        action: str | Sequence[str] | None = None,
        before: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[models.AuditEntry]:
        """List what was done, newest first; iterating over it gives each row once.

        Args:
            resource_type: Only what was done to such things: `sandbox`, `snapshot`, `team`,
                `member`, `user`, `api_key`, `channel`, `host`, `build`, `template`; or to any of
                several.
            action: Only this, such as `create` or `destroy`; or any of several.
            before: Only what was done before this time.
            limit: Rows per page, 200 at most; 50 if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        def fetch(place: audit.Place) -> Page[models.AuditEntry]:
            items, following, further = self._run(audit.page(place))
            return Page((items, following), lambda _: fetch(further))

        first = audit.place(
            resource_type=resource_type,
            action=action,
            before=before,
            limit=limit,
            cursor=cursor,
        )
        return fetch(first)


class AsyncAudit(AsyncResource):
    """Read who did what in the team."""

    def list(
        self,
        *,
        resource_type: str | Sequence[str] | None = None,
        action: str | Sequence[str] | None = None,
        before: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AsyncPageRequest[models.AuditEntry]:
        """List what was done, newest first; iterating over it gives each row once.

        Args:
            resource_type: Only what was done to such things: `sandbox`, `snapshot`, `team`,
                `member`, `user`, `api_key`, `channel`, `host`, `build`, `template`; or to any of
                several.
            action: Only this, such as `create` or `destroy`; or any of several.
            before: Only what was done before this time.
            limit: Rows per page, 200 at most; 50 if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        async def fetch(place: audit.Place) -> AsyncPage[models.AuditEntry]:
            items, following, further = await self._run(audit.page(place))
            return AsyncPage((items, following), lambda _: fetch(further))

        first = audit.place(
            resource_type=resource_type,
            action=action,
            before=before,
            limit=limit,
            cursor=cursor,
        )
        return AsyncPageRequest(lambda: fetch(first))
