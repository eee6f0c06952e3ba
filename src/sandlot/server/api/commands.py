"""Running commands and waiting for their end."""

from __future__ import annotations

import base64
import codecs
import math
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import ExecRequest, ExecResponse, ExecStreamStart
from sandlot.server.services import tags
from sandlot.server.services.audit import note
from sandlot.server.services.commands import CommandResult, CommandSpec
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.texts import is_base64

from .bodies import read_json, reply
from .context import Plane, RunningSandbox, held
from .disconnects import while_connected
from .processes import background_reply

__all__ = ["command_spec", "router"]

router = APIRouter()

_DEFAULT_TIMEOUT = 30.0


@router.post("/{id}/exec")
async def exec_command(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Run a command and wait for its end."""
    body = await read_json(request, ExecRequest, plane.options.max_json_bytes)
    if body.tag is not None:
        _ = tags.check((), body.tag)
    if body.background:
        spec = replace(command_spec(body, None, stdin=False), timeout_sec=None)
        job = await plane.jobs.start(live, spec, "background", body.tag)
        note(process=job.tag)
        return background_reply(live.record.id, body.cmd, job)
    stdin = _stdin(body)
    limit = body.max_output_bytes
    work = plane.commands.run(
        live,
        command_spec(body, _DEFAULT_TIMEOUT, stdin=stdin is not None),
        stdin=stdin,
        max_output=plane.options.max_output_bytes if limit is None else limit,
    )
    with held(request):
        result = await while_connected(request, work)
    return reply(_result(live.record.id, body.cmd, result))


def command_spec(
    body: ExecRequest | ExecStreamStart, default_timeout: float | None, *, stdin: bool
) -> CommandSpec:
    """Return the command that a request asks for."""
    timeout = body.timeout_sec or 0.0
    if not math.isfinite(timeout):
        raise InvalidRequestError("timeout_sec: must be a finite number.")
    return CommandSpec(
        argv=[body.cmd, *(body.args or ())],
        env=body.env or (body.envs if isinstance(body, ExecRequest) else None) or {},
        cwd=body.cwd or None,
        user=body.user or None,
        timeout_sec=timeout if timeout > 0 else default_timeout,
        stdin=stdin,
    )


def _stdin(body: ExecRequest) -> bytes | None:
    if body.stdin is None:
        return None
    if body.stdin_encoding != "base64":
        return body.stdin.encode()
    if not is_base64(body.stdin):
        raise InvalidRequestError("stdin: is not base64.")
    return base64.b64decode(body.stdin)


def _result(sandbox_id: str, cmd: str, result: CommandResult) -> ExecResponse:
    try:
        stdout = _text(result.stdout, cut="stdout" in result.truncated)
        stderr = _text(result.stderr, cut="stderr" in result.truncated)
        encoding = "utf-8"
    except UnicodeDecodeError:
        stdout = base64.b64encode(result.stdout).decode()
        stderr = base64.b64encode(result.stderr).decode()
        encoding = "base64"
    return ExecResponse(
        sandbox_id=sandbox_id,
        cmd=cmd,
        stdout=stdout,
        stderr=stderr,
        exit_code=result.end.exit_code,
        duration_ms=round(result.duration * 1000),
        encoding=encoding,
        signal=result.end.signal,
        timed_out=result.end.timed_out,
        truncated=bool(result.truncated),
        oom=result.end.oom,
        no_space=result.end.no_space,
    )


def _text(data: bytes, *, cut: bool) -> str:
    """Return output as text, without the beginning of a character where it was cut."""
    return codecs.utf_8_decode(data, "strict", not cut)[0]
