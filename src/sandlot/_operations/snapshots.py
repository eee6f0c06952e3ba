"""Operations on snapshots, forks and checkpoints."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import uuid4

from .. import models
from .._flow import KEY_HEADER, Flow, Request, Server, Undo, execute, fetch, path
from ..errors import (
    APIError,
    InvalidArgumentError,
    NotFoundError,
    SandboxDestroyedError,
    SandlotError,
    TransportError,
)
from . import arguments, meta
from .sandboxes import at, destroy

_ROOT = "/v1/snapshots"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TIMEOUT = 300.0
"""Seconds to wait for calls that may have to copy files."""
_UNDO_TIMEOUT = 5.0
_MOST_FORKS = 64
_MOST_CHARACTERS = 255


def create(
    server: Server, sandbox_id: str, name: str | None, *, overwrite: bool
) -> Flow[models.SnapshotInfo]:
    """Keep the files of a sandbox as a template for others."""
    body = arguments.without_none(
        sandbox_id=arguments.sandbox_id(sandbox_id), name=_optional_name(name)
    )
    params = {"overwrite": "true"} if overwrite else {}
    headers = yield from meta.creation_key(server)
    request = Request("POST", _ROOT, body, params, headers=headers, timeout=_TIMEOUT)
    return (yield from fetch(models.SnapshotInfo, request))


def list_all(kind: str | None) -> Flow[list[models.SnapshotInfo]]:
    """List templates."""
    params = arguments.without_none(type=arguments.optional_text(kind, "type"))
    return fetch(list[models.SnapshotInfo], Request("GET", _ROOT, params=params))


def get(server: Server, name: str) -> Flow[models.SnapshotInfo]:
    """Look up a template."""
    wanted = _name(name)
    if (yield from meta.known(server)) is not None:
        return (yield from fetch(models.SnapshotInfo, Request("GET", path(_ROOT + "/{}", wanted))))
    for info in (yield from list_all(None)):  # original servers have no such path
        if info.name == wanted:
            return info
    raise NotFoundError(f"There is no template named {wanted!r}", code="not_found", status_code=404)


def delete(name: str) -> Flow[None]:
    """Delete a snapshot."""
    return execute(Request("DELETE", path(_ROOT + "/{}", _name(name))))


def fork(server: Server, sandbox_id: str, count: int) -> Flow[list[models.SandboxInfo]]:
    """Make forks of a sandbox; whatever happens on the way, none is left behind."""
    number = _count(count)
    address = at(sandbox_id, "fork")
    yield from meta.require(server, "forks")
    request = Request("POST", address, {"count": number}, headers=_key(), timeout=_TIMEOUT)
    yield Undo(lambda: _undo_fork(request))
    try:
        infos = yield from fetch(list[models.SandboxInfo], request)
    except (TransportError, APIError) as exc:
        lost = isinstance(exc, TransportError) or exc.code == "unknown"
        if lost and exc.outcome == "unknown":
            yield from _undo_lost(request, exc)
        raise
    gone = [info for info in infos if info.status == "stopped"]
    if gone:  # their server was killed before it answered, and the next one did
        for info in infos:
            yield from destroy(info.id)
        why = gone[0].status_reason or "It has ended."
        raise SandboxDestroyedError(f"The fork {gone[0].id} is gone. {why}", status="stopped")
    return infos


def checkpoint(server: Server, sandbox_id: str, name: str | None) -> Flow[models.Checkpoint]:
    """Remember the files of a sandbox."""
    label = arguments.optional_text(name, "name")
    if label is not None and len(label) > _MOST_CHARACTERS:
        raise InvalidArgumentError(f"name is longer than {_MOST_CHARACTERS} characters")
    address = at(sandbox_id, "checkpoints")
    yield from meta.require(server, "checkpoints")
    body = arguments.without_none(name=label)
    request = Request("POST", address, body, headers=_key(), timeout=_TIMEOUT)
    return (yield from fetch(models.Checkpoint, request))


def checkpoints(server: Server, sandbox_id: str) -> Flow[list[models.Checkpoint]]:
    """List the checkpoints of a sandbox."""
    address = at(sandbox_id, "checkpoints")
    yield from meta.require(server, "checkpoints")
    return (yield from fetch(list[models.Checkpoint], Request("GET", address)))


def delete_checkpoint(
    server: Server, sandbox_id: str, checkpoint: models.Checkpoint | str
) -> Flow[None]:
    """Forget a checkpoint."""
    address = path(at(sandbox_id, "checkpoints") + "/{}", _checkpoint_id(checkpoint, sandbox_id))
    yield from meta.require(server, "checkpoints")
    yield from execute(Request("DELETE", address))


def rollback(
    server: Server, sandbox_id: str, checkpoint: models.Checkpoint | str
) -> Flow[models.SandboxInfo]:
    """Put the files of a sandbox back to a checkpoint."""
    body = {"checkpoint_id": _checkpoint_id(checkpoint, sandbox_id)}
    address = at(sandbox_id, "rollback")
    yield from meta.require(server, "checkpoints")
    return (yield from fetch(models.SandboxInfo, Request("POST", address, body, timeout=_TIMEOUT)))


def changes(
    server: Server, sandbox_id: str, since: models.Checkpoint | str | None, *, diff: bool
) -> Flow[models.Changes]:
    """Ask which files differ from a checkpoint."""
    params = {"diff": "true" if diff else "false"}
    if since is not None:
        params["since"] = _checkpoint_id(since, sandbox_id)
    address = at(sandbox_id, "changes")
    yield from meta.require(server, "changes")
    return (
        yield from fetch(models.Changes, Request("GET", address, params=params, timeout=_TIMEOUT))
    )


def _undo_fork(request: Request) -> Flow[None]:
    """Destroy what an abandoned request made: asked again, it names its sandboxes."""
    infos = yield from fetch(list[models.SandboxInfo], replace(request, timeout=_UNDO_TIMEOUT))
    for info in infos:
        yield from destroy(info.id, timeout=_UNDO_TIMEOUT)


def _undo_lost(request: Request, failure: TransportError | APIError) -> Flow[None]:
    try:
        yield from _undo_fork(request)
    except SandlotError:
        failure.add_note("The forks may exist: look for them with sandboxes.list().")
    else:
        failure.outcome = "not_started"
        failure.add_note("The forks, had they been made, were destroyed.")


def _key() -> dict[str, str]:
    """Return the header that lets a request be sent again without further effect."""
    return {KEY_HEADER: uuid4().hex}


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidArgumentError(
            f"not the name of a snapshot: {value!r:.200}; it has 1 to 64 characters of"
            " A-Za-z0-9._- and begins with a letter or digit"
        )
    return value


def _optional_name(value: Any) -> str | None:
    return None if value is None else _name(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_FORKS:
        raise InvalidArgumentError(f"count must be an int from 1 to {_MOST_FORKS}: {value!r:.100}")
    return value


def _checkpoint_id(value: Any, sandbox_id: str) -> str:
    if isinstance(value, models.Checkpoint):
        if value.sandbox_id != sandbox_id:
            raise InvalidArgumentError(
                f"the checkpoint {value.id} is of another sandbox: {value.sandbox_id}"
            )
        return value.id
    try:
        return arguments.sandbox_id(value)
    except InvalidArgumentError:
        raise InvalidArgumentError(f"not the id of a checkpoint: {value!r:.200}") from None
