"""Moving files in and out of a sandbox."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandlot.models import ReadFileRequest
from sandlot.server.services.errors import AgentError
from sandlot.server.services.files import Download, open_download
from sandlot.server.services.live import LiveSandbox

from .bodies import read_json
from .context import Plane, RunningSandbox
from .uploads import receive_file

__all__ = ["router"]

router = APIRouter()


@router.post("/{id}/files/write")
async def write_file(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Write a small file."""
    await receive_file(request, live, plane.options.max_buffered_upload_bytes)
    return Response(status_code=204)


@router.post("/{id}/files/stream/write")
async def stream_write_file(request: Request, live: RunningSandbox) -> Response:
    """Write a file of any size."""
    await receive_file(request, live, None)
    return Response(status_code=204)


@router.post("/{id}/files/read")
@router.post("/{id}/files/stream/read")
async def read_file(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Read a file."""
    body = await read_json(request, ReadFileRequest, plane.options.max_json_bytes)
    return _FileResponse(live, body.path)


class _FileResponse(Response):
    """The bytes of a file; what cannot be opened is an ordinary error."""

    def __init__(self, live: LiveSandbox, path: str) -> None:
        super().__init__(media_type="application/octet-stream")
        self._live = live
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with open_download(self._live, self._path) as download:
            await _send_file(download, send)


async def _send_file(download: Download, send: Send) -> None:
    piece = await download.read()  # before the response starts: it may fail
    left = download.size or None  # files that do not know their size say 0
    headers = [(b"content-type", b"application/octet-stream")]
    if not piece:
        left = 0
    if left is not None:
        headers.append((b"content-length", str(left).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while piece and left != 0:
        if left is not None:
            piece = piece[:left]  # it may have grown since; what was announced is what is sent
            left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        piece = await download.read()
    if left:
        # The connection ends without the proper end of the body, which is how the client knows.
        raise AgentError("The file became shorter while it was read.")
    await send({"type": "http.response.body", "body": b"", "more_body": False})
