"""Making, finding and removing sandboxes."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import CreateSandboxRequest, Lease, StopRequest
from sandlot.server.ids import is_id
from sandlot.server.services.audit import note
from sandlot.server.services.commands import check_variables
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.hosts import check_tag
from sandlot.server.services.idempotency import Claim
from sandlot.server.services.labels import check_labels
from sandlot.server.services.lifecycle import expires_at
from sandlot.server.services.naming import check_text, sandbox_name
from sandlot.server.services.new_sandboxes import NewSandbox
from sandlot.server.services.sandboxes import Creation
from sandlot.server.store.records import SandboxFilter

from .bodies import read_json, reply, reply_list
from .context import Caller, Plane, SandboxId, check_sandbox_id
from .cursors import cursor, page_limit, parse_cursor
from .host_views import usage_view
from .idempotency import fingerprint, once
from .parameters import day
from .views import metrics_view, sandbox_view, stats_view, stop_view

__all__ = ["router"]

router = APIRouter()

_LABEL = "metadata."


@router.post("")
async def create_sandbox(request: Request, plane: Plane, caller: Caller) -> Response:
    """Create a sandbox."""
    body = await read_json(request, CreateSandboxRequest, plane.options.max_json_bytes)
    _check(body)

    async def make(claim: Claim) -> Creation:
        default = await plane.snapshots.starting_point(caller.team_id, body.template, body.snapshot)
        wanted = _wanted(body, default)
        if body.if_exists == "get":
            return await plane.sandboxes.get_or_create(caller.team_id, wanted, claim.id)
        record = await plane.sandboxes.create(caller.team_id, wanted, claim.id)
        return Creation(record, is_new=True)

    async def find(claim: Claim) -> Creation | None:
        record = await plane.sandboxes.find(caller.team_id, claim.id)
        if record is None or record.status in ("pending", "error"):
            return None  # it never ran: the server died while it was being made
        return Creation(record, is_new=True)

    async def clear(claim: Claim) -> bool:
        return await plane.sandboxes.lives.abandon(caller.team_id, claim.id)

    same = fingerprint(body)
    creation = await once(
        request, plane, caller, "cl", same, make, find, clear=clear, lasting=True, undone=True
    )
    note(creation.record.id, template=body.template or creation.record.template)
    view = sandbox_view(creation.record, plane.capabilities)
    return reply(view, 201 if creation.is_new else 200)


@router.get("")
async def list_sandboxes(request: Request, plane: Plane, caller: Caller) -> Response:
    """List sandboxes, newest first."""
    query = request.query_params
    limit = page_limit(query)
    wanted = SandboxFilter(
        status=query.get("status") or None,
        template=query.get("template") or None,
        name=query.get("name") or None,
        metadata={
            key.removeprefix(_LABEL): value
            for key, value in query.items()
            if key.startswith(_LABEL)
        },
        before=parse_cursor(query, lambda text: is_id("cl", text)),
        limit=None if limit is None else limit + 1,  # the one beyond tells whether there is more
    )
    records = await plane.sandboxes.list(caller.team_id, wanted)
    headers = dict[str, str]()
    if limit is not None and len(records) > limit:
        records = records[:limit]
        headers["X-Next-Cursor"] = cursor(records[-1].created_at, records[-1].id)
    return reply_list([sandbox_view(record, plane.capabilities) for record in records], headers)


@router.get("/stats")
async def get_stats(request: Request, plane: Plane, caller: Caller) -> Response:
    """Tell how much the team runs, now and over time."""
    range = request.query_params.get("range") or "1h"
    return reply(stats_view(await plane.stats.report(caller.team_id, range)))


@router.get("/usage")
async def get_usage(request: Request, plane: Plane, caller: Caller) -> Response:
    """Tell what the team used of each day."""
    query = request.query_params
    first, last = day(query, "from"), day(query, "to")
    return reply(usage_view(await plane.usage.report(caller.team_id, first, last)))


@router.post("/stop")
async def stop_sandboxes(request: Request, plane: Plane, caller: Caller) -> Response:
    """Destroy or pause many sandboxes."""
    body = await read_json(request, StopRequest, plane.options.max_json_bytes)
    for sandbox_id in body.sandbox_ids:
        check_sandbox_id(sandbox_id, "sandbox_ids")
    report = await plane.sandboxes.stop_many(
        caller.team_id, body.sandbox_ids, save_state=body.save_state or False
    )
    note(sandbox_ids=" ".join(report.stopped), failed=" ".join(report.failed))
    return reply(stop_view(report))


@router.get("/{id}")
async def get_sandbox(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """Look up a sandbox, whatever its status."""
    return reply(
        sandbox_view(await plane.sandboxes.get(caller.team_id, sandbox_id), plane.capabilities)
    )


@router.delete("/{id}")
async def destroy_sandbox(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """Destroy a sandbox for good."""
    await plane.sandboxes.destroy(caller.team_id, sandbox_id)
    return Response(status_code=204)


@router.post("/{id}/ping")
async def ping_sandbox(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """Reset the idle timer."""
    await plane.sandboxes.ping(caller.team_id, sandbox_id)
    return Response(status_code=204)


@router.post("/{id}/lease")
async def renew_lease(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """Begin a new period of the lease."""
    end = expires_at(await plane.sandboxes.renew_lease(caller.team_id, sandbox_id))
    assert end is not None
    return reply(Lease(expires_at=end))


@router.post("/{id}/pause")
async def pause_sandbox(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """Freeze every process of a running sandbox."""
    return reply(
        sandbox_view(await plane.sandboxes.pause(caller.team_id, sandbox_id), plane.capabilities)
    )


@router.post("/{id}/resume")
async def resume_sandbox(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> Response:
    """Thaw a paused sandbox."""
    return reply(
        sandbox_view(await plane.sandboxes.resume(caller.team_id, sandbox_id), plane.capabilities)
    )


@router.get("/{id}/metrics")
async def get_metrics(
    request: Request, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> Response:
    """Tell what a sandbox used over time."""
    range = request.query_params.get("range") or "10m"
    points = await plane.metrics.points(caller.team_id, sandbox_id, range)
    return reply(metrics_view(sandbox_id, range, points))


def _check(body: CreateSandboxRequest) -> None:
    if body.name is not None:
        _ = sandbox_name(body.name)
    elif body.if_exists == "get":
        raise InvalidRequestError("if_exists: a name is needed to look for a sandbox.")
    check_text("template", body.template)
    check_text("snapshot", body.snapshot)
    check_text("cwd", body.cwd)
    _ = check_labels(body.metadata or {})
    _ = check_variables(body.env or {})
    for tag in body.host_tags or ():
        _ = check_tag(tag, "host_tags")


def _wanted(body: CreateSandboxRequest, default: NewSandbox) -> NewSandbox:
    return replace(
        default,
        vcpus=body.vcpus or default.vcpus,
        memory_mb=body.memory_mb or default.memory_mb,
        disk_mb=body.disk_mb or default.disk_mb,
        timeout_sec=body.timeout_sec or default.timeout_sec,
        network=body.network or default.network,
        name=body.name,
        metadata=body.metadata or {},
        env=body.env or {},
        cwd=body.cwd or None,
        on_timeout=body.on_timeout or default.on_timeout,
        max_lifetime_sec=body.max_lifetime_sec or default.max_lifetime_sec,
        lease_sec=body.lease_sec or default.lease_sec,
        require_isolation=body.require_isolation or (),
        host_tags=body.host_tags or (),
    )
