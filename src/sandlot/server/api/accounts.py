"""Signing up, logging in, changing teams, finding users."""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import LoginRequest, SignupRequest, SwitchTeamRequest
from sandlot.server.plane import ControlPlane
from sandlot.server.services.audit import note
from sandlot.server.services.errors import ServiceError
from sandlot.server.services.principals import Actor

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, check_id
from .identity_views import session_view, user_view

__all__ = ["router"]

router = APIRouter()

_MAX_BODY = 64 << 10


@router.post("/auth/signup")
async def sign_up(request: Request, plane: Plane) -> Response:
    """Make a user, and let them in."""
    body = await read_json(request, SignupRequest, _MAX_BODY)
    session = await plane.accounts.sign_up(
        body.email,
        body.password,
        body.name,
        _address(request),
        by_admin=await _is_admin(request, plane),
    )
    user = session.standing.user
    note(user.id, team_id=session.standing.team.id, actor=Actor("user", user.id, user.name))
    return reply(session_view(session), 201)


@router.post("/auth/login")
async def log_in(request: Request, plane: Plane) -> Response:
    """Let a user in."""
    body = await read_json(request, LoginRequest, _MAX_BODY)
    session = await plane.accounts.log_in(body.email, body.password, _address(request))
    return reply(session_view(session))


@router.post("/auth/switch-team")
async def switch_team(request: Request, plane: Plane, caller: Caller) -> Response:
    """Let a user into another team."""
    body = await read_json(request, SwitchTeamRequest, _MAX_BODY)
    team_id = check_id("team", body.team_id, "team_id")
    return reply(session_view(await plane.accounts.switch_team(caller, team_id)))


@router.get("/users/search")
async def search_users(request: Request, plane: Plane) -> Response:
    """Find users by the beginning of their address."""
    found = await plane.accounts.search(request.query_params.get("email", ""))
    return reply_list([user_view(record) for record in found], {})


async def _is_admin(request: Request, plane: ControlPlane) -> bool:
    """Tell whether a request that needs no credential has that of an administrator."""
    headers = request.headers
    try:
        caller = await plane.auth.identify(headers.get("x-api-key"), headers.get("authorization"))
    except ServiceError:
        return False
    return caller.is_admin and "admin" in caller.scopes


def _address(request: Request) -> str:
    """Return what counts as one client: an address, or the network of one subscriber."""
    host = "" if request.client is None else request.client.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
