"""Builds of templates."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from sandlot.models import Build, BuildLogEntry, BuildLogPage, BuildLogPiece, CreateBuildRequest
from sandlot.server.ids import is_id
from sandlot.server.services.audit import note
from sandlot.server.services.build_log import BuildLog
from sandlot.server.services.build_sandboxes import NewBuild
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.idempotency import Claim
from sandlot.server.services.naming import check_text, template_name
from sandlot.server.store.builds import BuildRecord

from .bodies import read_body, reply, reply_list
from .build_forms import receive_build
from .context import Caller, Plane, check_id, held
from .cursors import cursor, page_limit, parse_cursor
from .disconnects import while_connected
from .idempotency import fingerprint, once

__all__ = ["router"]

router = APIRouter()

_MOST_CHARACTERS = 256 << 10
_LONGEST_WAIT = 30


async def _build_id(connection: HTTPConnection, _caller: Caller) -> str:
    return check_id("bld", connection.path_params["id"], "id")


BuildId = Annotated[str, Depends(_build_id)]


@router.post("")
async def create_build(request: Request, plane: Plane, caller: Caller) -> Response:
    """Queue a build."""
    async with receive_build(request, plane.options, plane.builds.directory) as (body, archive):
        digest = None if archive is None else archive.digest
        wanted = _wanted(body, digest)

        async def make(claim: Claim) -> BuildRecord:
            place = plane.builds.archive_of(claim.id)
            if archive is not None:
                _ = archive.path.rename(place)
            try:
                return await plane.builds.create(caller.team_id, wanted, claim.id)
            except BaseException:
                place.unlink(missing_ok=True)
                raise

        async def find(claim: Claim) -> BuildRecord | None:
            return await plane.builds.find(claim.id)

        same = fingerprint(body, "build", digest or "")
        record = await once(request, plane, caller, "bld", same, make, find, lasting=True)
    note(record.id, name=record.name)
    return reply(_view(record, BuildLog()), 201)


@router.get("")
async def list_builds(request: Request, plane: Plane, _caller: Caller) -> Response:
    """List builds, newest first."""
    query = request.query_params
    limit = page_limit(query)
    before = parse_cursor(query, lambda text: is_id("bld", text))
    records = await plane.builds.list(before, None if limit is None else limit + 1)
    headers = dict[str, str]()
    if limit is not None and len(records) > limit:
        records = records[:limit]
        headers["X-Next-Cursor"] = cursor(records[-1].created_at, records[-1].id)
    return reply_list([_view(record, BuildLog()) for record in records], headers)


@router.get("/{id}")
async def get_build(plane: Plane, _caller: Caller, build_id: BuildId) -> Response:
    """Look up a build and its log."""
    record = await plane.builds.get(build_id)
    return reply(_view(record, await plane.builds.log(build_id)))


@router.get("/{id}/log")
async def read_build_log(
    request: Request, plane: Plane, _caller: Caller, build_id: BuildId
) -> Response:
    """Read on in a log, waiting for more if there is none."""
    query = request.query_params
    offset = _number(query, "offset", 0, 1 << 31)
    limit = _number(query, "limit", _MOST_CHARACTERS, _MOST_CHARACTERS)
    wait = _number(query, "wait_sec", 0, _LONGEST_WAIT)
    _ = await read_body(request, 0)
    work = plane.builds.read_log(build_id, offset, limit, wait)
    with held(request):
        page = await while_connected(request, work)
    view = BuildLogPage(
        status=page.record.status,
        current_step=page.record.current_step,
        total_steps=page.record.total_steps,
        next_offset=page.next_offset,
        pieces=[
            BuildLogPiece(step=piece.step, stream=piece.stream, text=piece.text)
            for piece in page.pieces
        ],
    )
    return reply(view)


@router.post("/{id}/cancel")
async def cancel_build(plane: Plane, _caller: Caller, build_id: BuildId) -> Response:
    """End a build."""
    await plane.builds.cancel(build_id)
    return Response(status_code=204)


def _wanted(body: CreateBuildRequest, digest: str | None) -> NewBuild:
    usual = NewBuild(template_name(body.name), body.recipe)
    check_text("base_template", body.base_template)
    return NewBuild(
        name=body.name,
        recipe=body.recipe,
        base_template=body.base_template or usual.base_template,
        healthcheck=(body.healthcheck or "").strip() or None,
        vcpus=body.vcpus or 0,
        memory_mb=body.memory_mb or 0,
        disk_mb=body.disk_mb or 0,
        network=body.network or usual.network,
        archive=digest,
    )


def _view(record: BuildRecord, log: BuildLog) -> Build:
    outputs = log.outputs()
    return Build(
        id=record.id,
        name=record.name,
        base_template=record.base_template,
        recipe=list(record.recipe),
        healthcheck=record.healthcheck,
        vcpus=record.vcpus,
        memory_mb=record.memory_mb,
        disk_mb=record.disk_mb,
        network=record.network,
        status=record.status,
        current_step=record.current_step,
        total_steps=record.total_steps,
        logs=[
            BuildLogEntry(
                step=step.step,
                phase=step.phase,
                line=step.line or None,
                cmd=step.cmd,
                stdout=outputs.get((step.step, "stdout"), ""),
                stderr=outputs.get((step.step, "stderr"), ""),
                exit=-1 if step.exit is None else step.exit,
                ok=step.ok or False,
                elapsed_ms=step.elapsed_ms,
            )
            for step in log.steps
            if step.ok is not None or record.completed_at is not None
        ],
        error=record.error,
        sandbox_id=record.sandbox_id,
        default_user=record.default_user,
        default_cwd=record.default_cwd,
        default_env=dict(record.default_env) or None,
        created_at=record.created_at,
        started_at=record.started_at,
        completed_at=record.completed_at,
    )


def _number(query: QueryParams, name: str, usual: int, most: int) -> int:
    text = query.get(name) or str(usual)
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) > most:
        raise InvalidRequestError(f"{name}: must be a whole number from 0 to {most}.")
    return int(text)
