"""Hosts: for those who look after them, and for the agents on them."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from sandlot.models import (
    AddHostTagRequest,
    CreateHostRequest,
    HostDeletePreview,
    RefreshHostTokenRequest,
    RegisterHostRequest,
)
from sandlot.server.services.audit import note
from sandlot.server.services.enrollment import Figures
from sandlot.server.services.errors import ForbiddenError
from sandlot.server.services.hosts import Invitation, NewHost
from sandlot.server.services.idempotency import Claim
from sandlot.server.services.principals import DEFAULT_TEAM, Actor

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, check_id
from .host_views import credentials_view, host_view, invitation_view
from .idempotency import fingerprint, once
from .parameters import flag

__all__ = ["router"]

router = APIRouter()

_LARGEST = 64 << 10


async def _host_id(connection: HTTPConnection, _caller: Caller) -> str:
    return check_id("host", connection.path_params["id"], "id")


HostId = Annotated[str, Depends(_host_id)]


@router.post("")
async def create_host(request: Request, plane: Plane, caller: Caller) -> Response:
    """Make a host; the token to register it with is shown here and nowhere else."""
    body = await read_json(request, CreateHostRequest, _LARGEST)
    wanted = NewHost(
        body.type, body.team_id or None, body.provider or None, body.availability_zone or None
    )

    async def make(claim: Claim) -> Invitation:
        return await plane.hosts.create(caller, claim, wanted)

    same = fingerprint(body, "host")
    invitation = await once(request, plane, caller, "host", same, make, plane.hosts.find_new)
    note(invitation.host.id, type=wanted.type)
    return reply(invitation_view(invitation), 201)


@router.get("")
async def list_hosts(plane: Plane, caller: Caller) -> Response:
    """List the hosts that the caller can see, newest first."""
    return reply_list([host_view(host) for host in await plane.hosts.list(caller)], {})


@router.post("/register")
async def register_host(request: Request, plane: Plane) -> Response:
    """Make a pending host one that is online."""
    body = await read_json(request, RegisterHostRequest, _LARGEST)
    figures = Figures(body.address, body.arch or None, body.cpu_cores, body.memory_mb, body.disk_gb)
    credentials = await plane.enrollment.register(body.token, figures)
    host = credentials.host
    note(host.id, team_id=host.team_id or DEFAULT_TEAM, actor=Actor("host", host.id))
    return reply(credentials_view(credentials), 201)


@router.post("/auth/refresh")
async def refresh_host_token(request: Request, plane: Plane) -> Response:
    """Give new tokens for a refresh token, which is used up."""
    body = await read_json(request, RefreshHostTokenRequest, _LARGEST)
    return reply(credentials_view(await plane.enrollment.refresh(body.refresh_token)))


@router.get("/{id}")
async def get_host(plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """Look up a host."""
    return reply(host_view(await plane.hosts.get(caller, host_id)))


@router.delete("/{id}")
async def delete_host(request: Request, plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """Delete a host and its tokens."""
    force = flag(request.query_params, "force", default=False)
    _ = await plane.hosts.delete(caller, host_id, force=force)
    return Response(status_code=204)


@router.get("/{id}/delete-preview")
async def preview_host_deletion(plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """Tell what would go with a host."""
    ids = await plane.hosts.sandbox_ids(caller, host_id)
    host = host_view(await plane.hosts.get(caller, host_id))
    return reply(HostDeletePreview(host=host, sandbox_ids=list(ids)))


@router.post("/{id}/token")
async def regenerate_host_token(plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """Make another token to register a host with."""
    return reply(invitation_view(await plane.hosts.invite_again(caller, host_id)), 201)


@router.post("/{id}/heartbeat")
async def send_heartbeat(plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """Note that a host is there."""
    if caller.host_id != host_id:
        raise ForbiddenError("The token is another host's.")
    await plane.enrollment.heartbeat(host_id)
    return Response(status_code=204)


@router.get("/{id}/tags")
async def list_host_tags(plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """List the tags of a host, in order."""
    tags = await plane.hosts.tags(caller, host_id)
    return Response(json.dumps(list(tags)), media_type="application/json")


@router.post("/{id}/tags")
async def add_host_tag(request: Request, plane: Plane, caller: Caller, host_id: HostId) -> Response:
    """Give a host a tag."""
    body = await read_json(request, AddHostTagRequest, _LARGEST)
    await plane.hosts.add_tag(caller, host_id, body.tag)
    note(tag=body.tag)
    return Response(status_code=204)


@router.delete("/{id}/tags/{tag}")
async def remove_host_tag(plane: Plane, caller: Caller, host_id: HostId, tag: str) -> Response:
    """Take a tag from a host."""
    await plane.hosts.remove_tag(caller, host_id, tag)
    note(tag=tag)
    return Response(status_code=204)
