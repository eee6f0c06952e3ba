"""All teams and users, for those who administer the platform."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import SetActiveRequest, TeamSummaryPage, UserSummaryPage
from sandlot.server.services.audit import note
from sandlot.server.services.principals import DEFAULT_TEAM

from .audit import audit_page
from .bodies import read_json, reply
from .context import Caller, Plane, check_id
from .identity_views import team_overview, user_overview

__all__ = ["router"]

router = APIRouter()


@router.get("/teams")
async def list_all_teams(request: Request, plane: Plane) -> Response:
    """List all teams."""
    page = await plane.platform.teams(_page_number(request))
    return reply(
        TeamSummaryPage(
            teams=[team_overview(each) for each in page.items],
            total=page.total,
            page=page.number,
            per_page=page.size,
            total_pages=page.count,
        )
    )


@router.delete("/teams/{id}")
async def delete_any_team(request: Request, plane: Plane) -> Response:
    """Delete a team with all that it has."""
    note(team_id=DEFAULT_TEAM)
    await plane.platform.delete_team(check_id("team", request.path_params["id"], "id"))
    return Response(status_code=204)


@router.get("/users")
async def list_all_users(request: Request, plane: Plane) -> Response:
    """List all users."""
    page = await plane.platform.users(_page_number(request))
    return reply(
        UserSummaryPage(
            users=[user_overview(each) for each in page.items],
            total=page.total,
            page=page.number,
            per_page=page.size,
            total_pages=page.count,
        )
    )


@router.put("/users/{id}/active")
async def set_user_active(request: Request, plane: Plane, caller: Caller) -> Response:
    """Let a user in again, or keep them out."""
    user_id = check_id("usr", request.path_params["id"], "id")
    body = await read_json(request, SetActiveRequest, plane.options.max_json_bytes)
    note(team_id=DEFAULT_TEAM, active=str(body.active).lower())
    await plane.platform.set_active(caller, user_id, active=body.active)
    return Response(status_code=204)


@router.get("/audit-logs")
async def list_platform_audit(request: Request, plane: Plane) -> Response:
    """List what was done to the platform, newest first."""
    return await audit_page(request.query_params, plane, DEFAULT_TEAM, with_admin=True)


def _page_number(request: Request) -> int:
    """Return which page is asked for; the first if it is none, as the original server does."""
    text = request.query_params.get("page", "")
    return max(1, int(text)) if re.fullmatch("[0-9]{1,9}", text) else 1
