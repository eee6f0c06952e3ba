"""Commands that are waited for."""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.compat.double.accounts import caller
from tests.compat.double.answers import ProblemError, fields, reply
from tests.compat.double.world import Capsule, World, now

_USUAL = 30
_PROGRAMS = ("env", "nice", "printenv", "printf", "sh", "sleep", "true")


async def spawn(world: World, capsule: Capsule, argv: list[str]) -> asyncio.subprocess.Process:
    """Start a command as the guest does: as an argument vector, by way of `nice`."""
    # original server: 2.8, no shell; a program that is not there is 127 with a line of `nice`.
    variables = {
        "PATH": str(programs(world)),
        "HOME": str(capsule.home / "root"),
        "USER": "root",
        "LOGNAME": "root",
        "WRENN_SANDBOX": "true",
        "WRENN_SANDBOX_ID": capsule.id,
        "WRENN_TEMPLATE_ID": capsule.template,
    }
    process = await asyncio.create_subprocess_exec(
        "nice",
        "-n",
        "1",
        *argv,
        cwd=capsule.home / "root",
        env=variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    world.processes.append(process)
    return process


def programs(world: World) -> Path:
    """Make the directory of the programs that there are; Python is not one of them."""
    directory = world.directory / "bin"
    if not directory.exists():
        directory.mkdir()
        for name in _PROGRAMS:
            found = shutil.which(name)
            assert found is not None
            (directory / name).symlink_to(found)
    return directory


def exit_code(status: int) -> int:
    return max(status, -1)  # original server: 2.8, -1 for a signal, whichever


def is_text(data: bytes) -> bool:
    try:
        _ = data.decode()
    except UnicodeDecodeError:
        return False
    return True


def routes(world: World) -> list[Route]:
    async def run(request: Request) -> Response:
        # original server: 2.7, the state is looked at before the body.
        capsule = world.capsule(caller(request), request.path_params["id"], running=True)
        body = await fields(request)
        argv = [body.needed("cmd"), *body.texts("args")]
        limit = body.whole("timeout_sec")
        if not capsule.has_host:
            raise ProblemError(503, "host_unavailable", "sandbox host is not available")
        if capsule.is_frozen_by_agent:
            raise ProblemError(502, "agent_error", "internal: exec: sandbox not found")
        began = time.monotonic()
        process = await spawn(world, capsule, argv)
        try:
            async with asyncio.timeout(limit if limit > 0 else _USUAL):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            process.kill()
            # original server: 2.8, no code of its own, and what was written is lost.
            text = "deadline_exceeded: context deadline exceeded"
            raise ProblemError(502, "agent_error", text) from None
        capsule.last_active_at = now()
        assert process.returncode is not None
        # original server: 2.8, base64 for both if either is not UTF-8.
        if is_text(stdout) and is_text(stderr):
            encoding, said = "utf-8", [stdout.decode(), stderr.decode()]
        else:
            encoding = "base64"
            said = [base64.b64encode(each).decode() for each in (stdout, stderr)]
        return reply(
            {
                "sandbox_id": capsule.id,
                "cmd": argv[0],
                "stdout": said[0],
                "stderr": said[1],
                "exit_code": exit_code(process.returncode),
                "duration_ms": int((time.monotonic() - began) * 1000),
                "encoding": encoding,
            }
        )

    return [Route("/v1/sandboxes/{id}/exec", run, methods=["POST"])]
