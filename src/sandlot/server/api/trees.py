"""Files and directories of a sandbox, besides their contents."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import (
    ChangeFileModeRequest,
    FileEntry,
    FileEntryResponse,
    FilePathRequest,
    ListFilesRequest,
    ListFilesResponse,
    TransferFileRequest,
)
from sandlot.server.engine import base
from sandlot.server.services import trees

from .bodies import read_json, reply
from .context import Plane, RunningSandbox
from .disconnects import while_connected
from .files import FileResponse
from .paths import exact, readable, wanted_path
from .uploads import receive_file

__all__ = ["router"]

router = APIRouter()


@router.post("/{id}/files/list")
async def list_files(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Tell what is in a directory."""
    body = await read_json(request, ListFilesRequest, plane.options.max_json_bytes)
    path = wanted_path("path", body.path, body.path_base64)
    entries = await while_connected(request, trees.list_entries(live, path, body.depth or 0))
    return reply(ListFilesResponse(entries=[_view(entry) for entry in entries]))


@router.post("/{id}/files/stat")
async def stat_file(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Tell what is at a path."""
    body = await read_json(request, FilePathRequest, plane.options.max_json_bytes)
    path = wanted_path("path", body.path, body.path_base64)
    entry = await while_connected(request, trees.stat(live, path))
    return reply(FileEntryResponse(entry=_view(entry)))


@router.post("/{id}/files/mkdir")
async def make_directory(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Make a directory."""
    body = await read_json(request, FilePathRequest, plane.options.max_json_bytes)
    path = wanted_path("path", body.path, body.path_base64)
    entry = await while_connected(request, trees.make_directory(live, path))
    return reply(FileEntryResponse(entry=_view(entry)))


@router.post("/{id}/files/remove")
async def remove_file(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Remove a file, or a directory with all that is in it."""
    body = await read_json(request, FilePathRequest, plane.options.max_json_bytes)
    path = wanted_path("path", body.path, body.path_base64)
    await while_connected(request, trees.remove(live, path))
    return Response(status_code=204)


@router.post("/{id}/files/move")
async def move_file(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Give something another path."""
    source, destination, overwrite = await _transfer(request, plane)
    entry = await while_connected(
        request, trees.move(live, source, destination, overwrite=overwrite)
    )
    return reply(FileEntryResponse(entry=_view(entry)))


@router.post("/{id}/files/copy")
async def copy_file(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Copy something."""
    source, destination, overwrite = await _transfer(request, plane)
    entry = await while_connected(
        request, trees.copy(live, source, destination, overwrite=overwrite)
    )
    return reply(FileEntryResponse(entry=_view(entry)))


@router.post("/{id}/files/chmod")
async def change_mode(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Change the permission bits of something."""
    body = await read_json(request, ChangeFileModeRequest, plane.options.max_json_bytes)
    path = wanted_path("path", body.path, body.path_base64)
    entry = await while_connected(request, trees.change_mode(live, path, body.mode))
    return reply(FileEntryResponse(entry=_view(entry)))


@router.post("/{id}/files/archive")
async def archive_files(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """Return what is in a directory as a tar archive."""
    body = await read_json(request, FilePathRequest, plane.options.max_json_bytes)
    path = wanted_path("path", body.path, body.path_base64)
    return FileResponse(trees.open_archive(live, path), "application/x-tar")


@router.post("/{id}/files/extract")
async def extract_files(request: Request, live: RunningSandbox) -> Response:
    """Write the content of a tar archive below a directory."""
    await receive_file(request, live, None, trees.open_extraction)
    return Response(status_code=204)


async def _transfer(request: Request, plane: Plane) -> tuple[str, str, bool]:
    body = await read_json(request, TransferFileRequest, plane.options.max_json_bytes)
    source = wanted_path("source", body.source, body.source_base64)
    destination = wanted_path("destination", body.destination, body.destination_base64)
    return source, destination, bool(body.overwrite)


def _view(entry: base.FileEntry) -> FileEntry:
    target = entry.symlink_target
    return FileEntry(
        name=readable(entry.name),
        path=readable(entry.path),
        path_base64=exact(entry.path),
        type=entry.type,
        size=entry.size,
        mode=entry.mode,
        permissions=entry.permissions,
        owner=entry.owner,
        group=entry.group,
        modified_at=entry.modified_at,
        symlink_target=None if target is None else readable(target),
    )
