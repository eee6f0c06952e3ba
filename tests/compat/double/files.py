"""Files of sandboxes."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from pathlib import Path

from python_multipart.multipart import FormParser, parse_options_header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.compat.double.accounts import caller
from tests.compat.double.answers import ProblemError, fields, invalid, nothing
from tests.compat.double.world import Capsule, World

_PIECE = 1 << 16
_LARGEST = 104_857_600


def place(capsule: Capsule, path: str) -> Path:
    """Return where a file is on this machine; nothing leads out of the sandbox's directory."""
    # original server: 4, relative paths and `~` start at /root.
    if path == "~" or path.startswith("~/"):
        path = "/root" + path[1:]
    whole = posixpath.normpath(posixpath.join("/root", path))
    return capsule.home / whole.lstrip("/")


async def parts(request: Request) -> list[tuple[str, bytes]]:
    """Take a multipart body apart, in its order."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise invalid("expected multipart/form-data")
    found: list[tuple[str, bytes]] = []

    def on_field(field: object) -> None:
        name, value = field.field_name, field.value
        found.append((name.decode(), value or b""))

    def on_file(file: object) -> None:
        file.file_object.seek(0)
        found.append((file.field_name.decode(), file.file_object.read()))

    parser = FormParser("multipart/form-data", on_field, on_file, boundary=options[b"boundary"])
    async for piece in request.stream():
        _ = parser.write(piece)
    parser.finalize()
    return found


def routes(world: World) -> list[Route]:
    def capsule_of(request: Request) -> Capsule:
        return world.capsule(caller(request), request.path_params["id"], running=True)

    def check_host(capsule: Capsule) -> None:
        if not capsule.has_host:
            raise ProblemError(503, "host_unavailable", "sandbox host is not available")
        if capsule.is_frozen_by_agent:
            raise ProblemError(404, "not_found", "not_found: sandbox not found")

    def save(capsule: Capsule, path: str, data: bytes) -> Response:
        target = place(capsule, path)
        if target.is_dir():
            raise ProblemError(502, "agent_error", f"internal: write file {path}: is a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        _ = target.write_bytes(data)
        return nothing()

    async def write(request: Request) -> Response:
        capsule = capsule_of(request)
        if int(request.headers.get("content-length", "0")) > _LARGEST:
            raise ProblemError(413, "too_large", "request body too large")
        given = dict(await parts(request))
        path = given.get("path", b"").decode() or request.query_params.get("path", "")
        if not path or "file" not in given:
            raise invalid("path and file are required")
        check_host(capsule)
        return save(capsule, path, given["file"])

    async def stream_write(request: Request) -> Response:
        capsule = capsule_of(request)
        given = await parts(request)
        names = [name for name, _ in given]
        if "path" not in names or "file" not in names:
            raise invalid("path and file are required")
        check_host(capsule)
        data = dict(given)["file"]
        if names.index("file") < names.index("path"):
            data = b""  # original server: 4.3, a file that precedes its path is skipped
        return save(capsule, dict(given)["path"].decode(), data)

    async def read(request: Request) -> Response:
        capsule = capsule_of(request)
        path = (await fields(request)).needed("path")
        check_host(capsule)
        source = place(capsule, path)
        # original server: 4.2, 502 for whatever is wrong; only the text says what the guest said.
        if not source.exists():
            text = f'internal: read file: read file {path}: status 404: {{"message":"not found"}}'
            raise ProblemError(502, "agent_error", text)
        if source.is_dir():
            text = f'internal: read file: read file {path}: status 400: {{"message":"directory"}}'
            raise ProblemError(502, "agent_error", text)
        return Response(source.read_bytes(), media_type="application/octet-stream")

    async def stream_read(request: Request) -> Response:
        capsule = capsule_of(request)
        path = (await fields(request)).needed("path")
        source = place(capsule, path)

        async def pieces() -> AsyncIterator[bytes]:
            # original server: 4.4, the status is sent before anything can go wrong: nothing comes.
            if not source.is_file() or not capsule.has_host or capsule.is_frozen_by_agent:
                return
            with source.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

        return StreamingResponse(pieces(), media_type="application/octet-stream")

    files = "/v1/sandboxes/{id}/files"
    return [
        Route(files + "/write", write, methods=["POST"]),
        Route(files + "/read", read, methods=["POST"]),
        Route(files + "/stream/write", stream_write, methods=["POST"]),
        Route(files + "/stream/read", stream_read, methods=["POST"]),
    ]
