"""The account of the user who asks."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import DeleteAccountRequest, PasswordRequest, UpdateAccountRequest
from sandlot.server.services.audit import note

from .bodies import read_json, reply
from .context import Caller, Plane
from .identity_views import account_view, session_view

__all__ = ["router"]

router = APIRouter()

_MAX_BODY = 64 << 10


@router.get("")
async def get_account(plane: Plane, caller: Caller) -> Response:
    """Look up one's own account."""
    return reply(account_view(await plane.profiles.get(caller)))


@router.patch("")
async def update_account(request: Request, plane: Plane, caller: Caller) -> Response:
    """Change one's own name."""
    body = await read_json(request, UpdateAccountRequest, _MAX_BODY)
    note(caller.user_id)
    user = await plane.profiles.rename(caller, body.name)
    note(new_name=user.name)
    return reply(session_view(await plane.accounts.switch_team(caller, caller.team_id)))


@router.delete("")
async def delete_account(request: Request, plane: Plane, caller: Caller) -> Response:
    """Delete one's own account."""
    body = await read_json(request, DeleteAccountRequest, _MAX_BODY)
    note(caller.user_id)
    await plane.profiles.delete(caller, body.confirmation)
    return Response(status_code=204)


@router.post("/password")
async def set_password(request: Request, plane: Plane, caller: Caller) -> Response:
    """Change one's own password."""
    body = await read_json(request, PasswordRequest, _MAX_BODY)
    note(caller.user_id)
    await plane.profiles.set_password(caller, body.current_password, body.new_password)
    return Response(status_code=204)
