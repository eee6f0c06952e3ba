"""Moving files in and out of a sandbox."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandlot.models import ReadFileRequest
from sandlot.server.services.errors import AgentError
from sandlot.server.services.files import Download, open_download

from .bodies import read_json
from .context import Plane, RunningSandbox, held
from .disconnects import while_connected
from .paths import wanted_path
from .uploads import receive_file

__all__ = ["FileResponse", "router"]

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
    path = wanted_path("path", body.path, body.path_base64)
    return FileResponse(open_download(live, path))


class FileResponse(Response):
    """The bytes of something; what cannot be opened is an ordinary error."""

    def __init__(
        self,
        opening: AbstractAsyncContextManager[Download],
        media_type: str = "application/octet-stream",
    ) -> None:
        super().__init__(media_type=media_type)
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        async with self._opening as download:
            # Nobody else notices that the client has gone: sending then does nothing, at no cost,
            # and what comes out of a sandbox may have no end, or stop coming.
            sending = _send_file(download, self.media_type or "", send)
            request = Request(scope, receive)
            with held(request):
                await while_connected(request, sending)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_file(download: Download, media_type: str, send: Send) -> None:
    """Send all of a response but its end."""
    piece = await download.read()  # before the response starts: it may fail
    left = download.size or None  # files that do not know their size say 0
    headers = [(b"content-type", media_type.encode())]
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
