"""Snapshots: templates that are made of sandboxes."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import CreateSnapshotRequest
from sandlot.server.ids import is_id
from sandlot.server.services.audit import note
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.idempotency import Claim
from sandlot.server.store.records import SnapshotRecord

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane
from .idempotency import fingerprint, once
from .parameters import flag
from .views import snapshot_view, template_view

__all__ = ["check_name", "router"]

router = APIRouter()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@router.post("")
async def create_snapshot(request: Request, plane: Plane, caller: Caller) -> Response:
    """Keep the files of a sandbox as a template for others."""
    overwrite = flag(request.query_params, "overwrite", default=False)
    body = await read_json(request, CreateSnapshotRequest, plane.options.max_json_bytes)
    if not is_id("cl", body.sandbox_id):
        raise InvalidRequestError("sandbox_id: is not the id of a sandbox.")

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
    return reply(snapshot_view(await plane.snapshots.get(caller.team_id, check_name(name))))


@router.delete("/{name}")
async def delete_snapshot(name: str, plane: Plane, caller: Caller) -> Response:
    """Delete a snapshot; sandboxes made from it keep their files."""
    await plane.snapshots.delete(caller.team_id, check_name(name))
    return Response(status_code=204)


def check_name(name: str) -> str:
    """Return a text that can be the name of a template.

    Raises:
        InvalidRequestError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            "name: must be 1-64 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit."
        )
    return name
