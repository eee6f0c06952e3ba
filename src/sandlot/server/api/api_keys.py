"""API keys."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import CreateApiKeyRequest
from sandlot.server.services.api_keys import NewKey
from sandlot.server.services.audit import note
from sandlot.server.services.idempotency import Claim

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, check_id
from .idempotency import fingerprint, once
from .identity_views import key_view

__all__ = ["router"]

router = APIRouter()


@router.post("")
async def create_key(request: Request, plane: Plane, caller: Caller) -> Response:
    """Make an API key, and show it this once."""
    body = await read_json(request, CreateApiKeyRequest, plane.options.max_json_bytes)

    async def make(claim: Claim) -> NewKey:
        return await plane.api_keys.create(caller, claim, body.name, body.scopes, body.expires_at)

    async def find(claim: Claim) -> NewKey | None:
        return await plane.api_keys.find_new(caller.team_id, claim)

    same = fingerprint(body, "api_key")
    made = await once(request, plane, caller, "key", same, make, find)
    note(made.record.id, name=made.record.name)
    return reply(key_view(made.record, made.key), 201)


@router.get("")
async def list_keys(plane: Plane, caller: Caller) -> Response:
    """List the API keys of the team, newest first."""
    return reply_list([key_view(key) for key in await plane.api_keys.list(caller.team_id)], {})


@router.delete("/{id}")
async def delete_key(id: str, plane: Plane, caller: Caller) -> Response:
    """Make an API key invalid, at once."""
    record = await plane.api_keys.revoke(caller.team_id, check_id("key", id, "id"))
    if record is not None:
        note(name=record.name)
    return Response(status_code=204)
