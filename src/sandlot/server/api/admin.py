"""What administrators of the platform do."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import SetByocRequest
from sandlot.server.services.audit import note
from sandlot.server.services.naming import template_name
from sandlot.server.services.principals import DEFAULT_TEAM

from .bodies import read_json, reply_list
from .context import Caller, Plane, check_id
from .host_views import base_template_view, team_template_view

__all__ = ["router"]

router = APIRouter()


@router.put("/teams/{id}/byoc")
async def set_byoc(request: Request, plane: Plane, _caller: Caller, id: str) -> Response:
    """Have a team run its sandboxes on hosts of its own."""
    team_id = check_id("team", id, "id")
    body = await read_json(request, SetByocRequest, plane.options.max_json_bytes)
    await plane.teams.set_byoc(team_id, enabled=body.enabled)
    note(team_id=DEFAULT_TEAM)
    return Response(status_code=204)


@router.get("/templates")
async def list_templates(plane: Plane, _caller: Caller) -> Response:
    """List the templates of all teams."""
    views = [team_template_view(record) for record in await plane.snapshots.list_all()]
    views += [base_template_view(name, plane.started_at) for name in plane.capabilities.templates]
    return reply_list(views, {})


@router.delete("/templates/{name}")
async def delete_template(plane: Plane, _caller: Caller, name: str) -> Response:
    """Delete a template of the platform."""
    note(team_id=DEFAULT_TEAM)
    await plane.snapshots.unpublish(template_name(name))
    return Response(status_code=204)
