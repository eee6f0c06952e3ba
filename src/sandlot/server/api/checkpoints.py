"""Forks and checkpoints of a sandbox, the way back, and what has changed."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import CheckpointRequest, ForkRequest, RollbackRequest
from sandlot.server.ids import is_id
from sandlot.server.services import changes
from sandlot.server.services.audit import note
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.idempotency import Claim
from sandlot.server.services.naming import check_text
from sandlot.server.store.records import SandboxRecord, SnapshotRecord

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, SandboxId
from .idempotency import fingerprint, once
from .parameters import flag
from .views import changes_view, checkpoint_view, sandbox_view

__all__ = ["router"]

router = APIRouter()

_LONGEST_NAME = 255


@router.post("/{id}/fork")
async def fork_sandbox(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Make sandboxes that begin with the files of this one."""
    body = await read_json(request, ForkRequest, plane.options.max_json_bytes)
    count = body.count or 1

    async def make(claim: Claim) -> Sequence[SandboxRecord]:
        return await plane.forks.create(caller.team_id, sandbox_id, count, claim.id)

    async def find(claim: Claim) -> Sequence[SandboxRecord] | None:
        return await plane.forks.find(caller.team_id, count, claim.id)

    async def clear(claim: Claim) -> bool:
        return await plane.forks.clear(caller.team_id, count, claim.id)

    same = fingerprint(body, "fork", sandbox_id)
    records = await once(
        request, plane, caller, "cl", same, make, find, clear=clear, lasting=True, undone=True
    )
    note(sandbox_ids=" ".join(record.id for record in records))
    views = [sandbox_view(record, plane.capabilities) for record in records]
    return reply_list(views, {}, 201)


@router.post("/{id}/checkpoints")
async def create_checkpoint(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Remember the files of a sandbox, to go back to them."""
    body = await read_json(request, CheckpointRequest, plane.options.max_json_bytes)
    check_text("name", body.name)
    if len(body.name or "") > _LONGEST_NAME:
        raise InvalidRequestError(f"name: must be at most {_LONGEST_NAME} characters.")

    async def make(claim: Claim) -> SnapshotRecord:
        return await plane.checkpoints.create(caller.team_id, sandbox_id, body.name, claim.id)

    async def find(claim: Claim) -> SnapshotRecord | None:
        return await plane.snapshots.find(claim.id)

    same = fingerprint(body, "checkpoint", sandbox_id)
    record = await once(request, plane, caller, "cp", same, make, find)
    note(checkpoint_id=record.id)
    return reply(checkpoint_view(record), 201)


@router.get("/{id}/checkpoints")
async def list_checkpoints(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """List the checkpoints of a sandbox, newest first."""
    records = await plane.checkpoints.list(caller.team_id, sandbox_id)
    return reply_list([checkpoint_view(record) for record in records], {})


@router.delete("/{id}/checkpoints/{checkpoint}")
async def delete_checkpoint(
    checkpoint: str, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Forget a checkpoint."""
    await plane.checkpoints.delete(caller.team_id, sandbox_id, _checked(checkpoint, "checkpoint"))
    return Response(status_code=204)


@router.post("/{id}/rollback")
async def rollback_sandbox(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Put the files of a sandbox back to a checkpoint."""
    body = await read_json(request, RollbackRequest, plane.options.max_json_bytes)
    checkpoint = _checked(body.checkpoint_id, "checkpoint_id")
    record = await plane.checkpoints.roll_back(caller.team_id, sandbox_id, checkpoint)
    return reply(sandbox_view(record, plane.capabilities))


@router.get("/{id}/changes")
async def list_changes(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Tell which files of the home directory differ from a checkpoint."""
    query = request.query_params
    since = query.get("since") or None
    with_diff = flag(query, "diff", default=True)
    if since is not None:
        _ = await plane.checkpoints.get(caller.team_id, sandbox_id, _checked(since, "since"))
    live = await plane.sandboxes.in_status(caller.team_id, sandbox_id, "running", "paused")
    report = await changes.report(live, since, with_diff=with_diff)
    return reply(changes_view(sandbox_id, since, report))


def _checked(checkpoint_id: str, name: str) -> str:
    if not is_id("cp", checkpoint_id):
        raise InvalidRequestError(f"{name}: is not the id of a checkpoint (cp- and 25 characters).")
    return checkpoint_id
