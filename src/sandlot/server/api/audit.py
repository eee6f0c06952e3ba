"""The audit log."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import AuditPage
from sandlot.server.plane import ControlPlane
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.store.identity_records import AuditFilter

from .bodies import reply
from .context import Caller, Plane, check_id
from .identity_views import audit_view

__all__ = ["audit_page", "router"]

router = APIRouter()

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@router.get("")
async def list_audit(request: Request, plane: Plane, caller: Caller) -> Response:
    """List what was done in the team, newest first."""
    with_admin = caller.role in ("owner", "admin")
    return await audit_page(request.query_params, plane, caller.team_id, with_admin=with_admin)


async def audit_page(
    query: QueryParams, plane: ControlPlane, team_id: str, *, with_admin: bool
) -> Response:
    """Return a page of the audit log of a team.

    Args:
        query: What is wanted of it.
        plane: The control plane.
        team_id: Which team's.
        with_admin: Whether to show what only its admins and owners may read.
    """
    limit = _limit(query)
    wanted = AuditFilter(
        resource_types=_words(query, "resource_type"),
        actions=_words(query, "action"),
        with_admin=with_admin,
        before=_before(query),
        limit=limit + 1,  # the one beyond tells whether there is more
    )
    records = await plane.audit.list(team_id, wanted)
    page = AuditPage(items=[audit_view(record) for record in records[:limit]])
    if len(records) > limit:
        last = records[limit - 1]
        time = last.created_at.astimezone(UTC).isoformat(timespec="microseconds")
        page.next_before = time.replace("+00:00", "Z")
        page.next_before_id = last.id
    return reply(page)


def _words(query: QueryParams, name: str) -> tuple[str, ...]:
    return tuple(word for text in query.getlist(name) for word in text.split(",") if word)


def _limit(query: QueryParams) -> int:
    text = query.get("limit")
    if not text:
        return _DEFAULT_LIMIT
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) < 1:
        raise InvalidRequestError("limit: must be a number of at least 1.")
    return min(int(text), _MAX_LIMIT)


def _before(query: QueryParams) -> tuple[datetime, str] | None:
    row_id = query.get("before_id")
    if row_id:
        _ = check_id("log", row_id, "before_id")
    text = query.get("before")
    if not text:
        return None
    try:
        if not _RFC_3339.fullmatch(text):
            raise ValueError
        time = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError("before: must be a time as in RFC 3339.") from error
    return time, row_id or ""
