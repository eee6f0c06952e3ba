"""Snapshots: templates that are made of sandboxes."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import CreateSnapshotRequest
from sandlot.server.ids import is_id
from sandlot.server.services.audit import note
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.idempotency import Claim
from sandlot.server.services.naming import template_name
from sandlot.server.store.records import SnapshotRecord

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane
from .idempotency import fingerprint, once
from .parameters import flag
from .views import snapshot_view, template_view

__all__ = ["router"]

router = APIRouter()


@router.post("")
async def create_snapshot(request: Request, plane: Plane, caller: Caller) -> Response:
    """Keep the files of a sandbox as a template for others."""
    overwrite = flag(request.query_params, "overwrite", default=False)
    body = await read_json(request, CreateSnapshotRequest, plane.options.max_json_bytes)
    if not is_id("cl", body.sandbox_id):
        raise InvalidRequestError("sandbox_id: is not the id of a sandbox.")
    if body.name is not None:
        _ = template_name(body.name)

    async def make(claim: Claim) -> SnapshotRecord:
        return await plane.snapshots.create(
            caller.team_id, body.sandbox_id, body.name, claim.id, overwrite=overwrite
        )

    async def find(claim: Claim) -> SnapshotRecord | None:
        return await plane.snapshots.find(claim.id)

    same = fingerprint(body, "snapshot", str(overwrite))
    record = await once(request, plane, caller, "sn", same, make, find)
    note(record.name, sandbox_id=body.sandbox_id)
    return reply(snapshot_view(record), 201)


@router.get("")
async def list_snapshots(request: Request, plane: Plane, caller: Caller) -> Response:
    """List templates, newest first; those that come with the engine last."""
    records = [*await plane.snapshots.list(caller.team_id), *await plane.snapshots.platform()]
    records.sort(key=lambda record: (record.created_at, record.id), reverse=True)
    views = [snapshot_view(record) for record in records]
    views += [template_view(name, plane.started_at) for name in plane.capabilities.templates]
    kind = request.query_params.get("type")
    return reply_list([view for view in views if kind in (None, "", view.type)], {})


@router.get("/{name}")
async def get_snapshot(name: str, plane: Plane, caller: Caller) -> Response:
    """Look up a template."""
    if name in plane.capabilities.templates:
        return reply(template_view(name, plane.started_at))
    return reply(snapshot_view(await plane.snapshots.get(caller.team_id, template_name(name))))


@router.delete("/{name}")
async def delete_snapshot(name: str, plane: Plane, caller: Caller) -> Response:
    """Delete a snapshot; sandboxes made from it keep their files."""
    await plane.snapshots.delete(caller.team_id, template_name(name))
    return Response(status_code=204)
