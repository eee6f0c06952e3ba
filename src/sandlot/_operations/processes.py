"""Operations on processes that run without anybody waiting for them."""

from __future__ import annotations

import re
from typing import Any

from .. import models
from .._flow import Flow, Request, Server, execute, fetch, path
from ..errors import InvalidArgumentError, NotFoundError
from . import arguments, meta, sandboxes
from .commands import Command, require_upgrade

_TAG = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def tag(value: Any) -> str:
    """Check the name of a process."""
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise InvalidArgumentError(
            f"not a tag: {value!r:.100}; tags are 1 to 64 of A-Za-z0-9._-, begin with a letter or"
            " digit, and do not consist of digits alone"
        )
    return value


def selector(value: Any) -> str:
    """Check what says which process is meant: its id or its tag."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    return tag(value)


def spawn(
    server: Server, sandbox_id: str, command: Command, wanted_tag: str | None
) -> Flow[models.ProcessInfo]:
    """Start a process in the background."""
    where = sandboxes.at(sandbox_id, "exec")
    name = None if wanted_tag is None else tag(wanted_tag)
    body = command.fields() | arguments.without_none(background=True, tag=name)
    yield from meta.require(server, "background processes", "processes")
    request = Request("POST", where, body)
    process = yield from fetch(models.BackgroundProcess, request)
    return models.ProcessInfo(
        pid=process.pid,
        tag=process.tag,
        cmd=command.argv[0],
        args=list(command.argv[1:]),
        kind="background",
    )


def list_all(server: Server, sandbox_id: str, *, ended: bool) -> Flow[list[models.ProcessInfo]]:
    """List processes."""
    yield from meta.require(server, "lists of processes", "processes")
    where = sandboxes.at(sandbox_id, "processes")
    params = {"all": "true"} if ended else {}
    found = yield from fetch(models.ProcessList, Request("GET", where, params=params))
    return found.processes


def get(server: Server, sandbox_id: str, which: str | int) -> Flow[models.ProcessInfo]:
    """Look up a process, which may have ended."""
    wanted = selector(which)
    for process in (yield from list_all(server, sandbox_id, ended=True)):
        if wanted in (process.tag, str(process.pid)):
            return process
    raise NotFoundError(
        f"There is no process {wanted} in this sandbox, or none any more",
        code="not_found",
        status_code=404,
    )


def signal(server: Server, sandbox_id: str, which: str | int, name: str | int) -> Flow[None]:
    """Send a signal to a process."""
    where = path(sandboxes.at(sandbox_id, "processes") + "/{}", selector(which))
    params = {"signal": arguments.signal_name(name)}
    yield from meta.require(server, "signals to processes", "processes")
    yield from execute(Request("DELETE", where, params=params))


def open_stream(sandbox_id: str, which: str, offsets: tuple[int, int] | None) -> Flow[None]:
    """Open the conversation in which a process is followed, from offsets of its output on."""
    where = path(sandboxes.at(sandbox_id, "processes") + "/{}/stream", which)
    if offsets is not None:
        where += f"?stdout={offsets[0]}&stderr={offsets[1]}"
    return require_upgrade(where)
