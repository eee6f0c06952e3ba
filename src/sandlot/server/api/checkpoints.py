"""Forks and checkpoints of a sandbox, the way back, and what has changed."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import CheckpointRequest, ForkRequest, RollbackRequest
from sandlot.server.ids import is_id, new_id
from sandlot.server.services import changes
from sandlot.server.services.audit import note
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.store.records import SandboxRecord, SnapshotRecord

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, SandboxId
from .disconnects import while_connected
from .idempotency import fingerprint, idempotency_key
from .parameters import flag
from .views import changes_view, checkpoint_view, sandbox_view

__all__ = ["router"]

router = APIRouter()


@router.post("/{id}/fork")
async def fork_sandbox(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Make sandboxes that begin with the files of this one."""
    key = idempotency_key(request)
    body = await read_json(request, ForkRequest, plane.options.max_json_bytes)
    count = body.count or 1

    async def make(first_id: str) -> Sequence[SandboxRecord]:
        return await plane.forks.create(caller.team_id, sandbox_id, count, first_id)

    async def find(first_id: str) -> Sequence[SandboxRecord] | None:
        return await plane.forks.find(caller.team_id, count, first_id)

    if key is None:
        records = await while_connected(request, make(new_id("cl")))
    else:
        same = fingerprint(body, "fork", sandbox_id)
        records = await plane.fork_requests.once(caller.team_id, key, same, make, find)
    note(sandbox_ids=" ".join(record.id for record in records))
    views = [sandbox_view(record, plane.capabilities) for record in records]
    return reply_list(views, {}, 201)


@router.post("/{id}/checkpoints")
async def create_checkpoint(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Remember the files of a sandbox, to go back to them."""
    key = idempotency_key(request)
    body = await read_json(request, CheckpointRequest, plane.options.max_json_bytes)

    async def make(checkpoint_id: str) -> SnapshotRecord:
        return await plane.checkpoints.create(caller.team_id, sandbox_id, body.name, checkpoint_id)

    if key is None:
        record = await make(new_id("cp"))
    else:
        same = fingerprint(body, "checkpoint", sandbox_id)
        record = await plane.checkpoint_requests.once(
            caller.team_id, key, same, make, plane.snapshots.find
        )
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
