"""Operations on sandboxes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pydantic

from .. import models
from .._flow import (
    KEY_HEADER,
    Flow,
    Request,
    Server,
    Undo,
    decode,
    execute,
    explain,
    fetch,
    now,
    path,
    pause,
    send,
)
from ..errors import (
    APIError,
    ConflictError,
    InvalidArgumentError,
    LeaseLostError,
    NotFoundError,
    SandboxDestroyedError,
    SandboxStateError,
    SandboxTimeoutError,
    SandlotError,
    TransportError,
    UnsupportedError,
)
from . import arguments, meta

_ROOT = "/v1/sandboxes"
_FULL_ID = re.compile(r"cl-[0-9a-z]{25}")
_BOOT_TIMEOUT = 90.0
"""Seconds to wait for calls that answer when a sandbox has started or stopped as asked."""
_UNDO_TIMEOUT = 5.0
"""Seconds to wait for each answer while cleaning up after an interruption."""
_BEGINNING = frozenset({"pending", "starting"})
_ADDITIONS = frozenset(
    {"disk_mb", "name", "metadata", "env", "cwd", "network", "snapshot", "require_isolation"}
)
"""What original servers would silently ignore."""
_GONE = frozenset({"stopped", "error"})
_FEATURES = {
    "host_tags": "create.host_tags",
    "if_exists": "create.if_exists",
    "lease_sec": "create.lease",
    "max_lifetime_sec": "create.lifetime",
    "on_timeout": "create.on_timeout",
}
"""Fields of the creation that came later, and what servers that know them say."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What came of asking for a sandbox: a new one, or one that was there."""

    info: models.SandboxInfo
    is_new: bool


def create(
    server: Server,
    template: str | None,
    *,
    vcpus: int | None,
    memory_mb: int | None,
    disk_mb: int | None,
    timeout_sec: int | None,
    name: str | None,
    metadata: Mapping[str, str] | None,
    env: Mapping[str, str] | None,
    cwd: str | None,
    network: str | None,
    snapshot: str | None,
    require_isolation: Sequence[str] | None,
    on_timeout: str | None,
    max_lifetime_sec: int | None,
    lease_sec: int | None,
    if_exists: str | None,
    host_tags: Sequence[str] | None,
    idempotency_key: str | None,
    wait: bool,
) -> Flow[Creation]:
    """Create a sandbox; whatever happens on the way, none is left behind."""
    body = _creation(
        template=arguments.optional_text(template, "template"),
        vcpus=vcpus,
        memory_mb=memory_mb,
        disk_mb=disk_mb,
        timeout_sec=timeout_sec,
        name=arguments.optional_name(name),
        metadata=arguments.texts(metadata, "metadata"),
        env=arguments.environment(env),
        cwd=arguments.optional_text(cwd, "cwd"),
        network=arguments.optional_text(network, "network"),
        snapshot=arguments.optional_text(snapshot, "snapshot"),
        require_isolation=arguments.optional_words(require_isolation, "require_isolation"),
        on_timeout=on_timeout,
        max_lifetime_sec=max_lifetime_sec,
        lease_sec=lease_sec,
        if_exists=if_exists,
        host_tags=arguments.optional_words(host_tags, "host_tags"),
    )
    if if_exists == "get" and name is None:
        raise InvalidArgumentError("if_exists needs a name to look for")
    additions = sorted(_ADDITIONS & set(body))
    if additions:
        yield from meta.require(server, f"{', '.join(additions)} at creation")
    newer = sorted(_FEATURES.keys() & set(body))
    if newer:
        features = [_FEATURES[name] for name in newer]
        yield from meta.require(server, f"{', '.join(newer)} at creation", *features)
    key = uuid4().hex if idempotency_key is None else arguments.idempotency_key(idempotency_key)
    request = Request(
        "POST",
        _ROOT,
        body,
        headers={KEY_HEADER: key},
        is_known=lambda: meta.keeps_keys(server),
        timeout=_BOOT_TIMEOUT,
    )
    if idempotency_key is None:
        creation = yield from _make(server, request)
        if creation.info.status == "stopped":
            # It ended before anybody heard of it: its server was killed, and the next one answered.
            again = replace(request, headers={KEY_HEADER: uuid4().hex})
            creation = yield from _make(server, again)
    else:
        # A key of the caller's own may name a sandbox that is already in use: not ours to destroy.
        yield from meta.require(server, "idempotency keys")
        creation = yield from _ask(request)
    info = creation.info
    if info.status == "stopped":  # a key of one's own would give it again
        _refuse_hopeless(info)
    if not creation.is_new:
        yield Undo(None)
        return Creation((yield from _woken(info)), is_new=False)
    yield Undo(lambda: destroy(info.id, timeout=_UNDO_TIMEOUT))
    if wait and info.status in _BEGINNING:
        try:
            return Creation((yield from wait_ready(info.id, timeout=_BOOT_TIMEOUT)), is_new=True)
        except SandlotError:
            yield from destroy(info.id)
            raise
    return creation


def list_page(
    server: Server,
    status: str | None,
    template: str | None,
    name: str | None,
    metadata: Mapping[str, str] | None,
    limit: int | None,
    cursor: str | None,
) -> Flow[tuple[list[models.SandboxInfo], str | None]]:
    """List sandboxes; return them and the cursor of the next page."""
    params = arguments.without_none(
        status=arguments.optional_text(status, "status"),
        template=arguments.optional_text(template, "template"),
        name=arguments.optional_text(name, "name"),
    )
    for key, value in (arguments.texts(metadata, "metadata") or {}).items():
        params[f"metadata.{key}"] = value
    if params:
        yield from meta.require(server, "filters of lists")
    if limit is not None:
        params["limit"] = str(arguments.whole(limit, "limit"))
    if cursor is not None:
        params["cursor"] = arguments.filled_text(cursor, "cursor")
    request = Request("GET", _ROOT, params=params)
    response = yield from send(request)
    infos = decode(list[models.SandboxInfo], request, response)
    return infos, response.headers.get("x-next-cursor")


def get(sandbox_id: str) -> Flow[models.SandboxInfo]:
    """Look up a sandbox."""
    return fetch(models.SandboxInfo, Request("GET", at(sandbox_id)))


def connect(server: Server, id_or_name: str) -> Flow[models.SandboxInfo]:
    """Find a sandbox and make it run if it is paused."""
    return (yield from _woken((yield from _find(server, id_or_name))))


def destroy(sandbox_id: str, *, timeout: float | None = None) -> Flow[None]:
    """Destroy a sandbox for good; one that is gone already is fine."""
    request = Request("DELETE", at(sandbox_id), timeout=timeout or _BOOT_TIMEOUT)
    yield Undo(lambda: _delete(replace(request, timeout=_UNDO_TIMEOUT)))
    yield from _delete(request)


def ping(sandbox_id: str) -> Flow[None]:
    """Reset the idle timer of a sandbox."""
    return execute(Request("POST", at(sandbox_id, "ping"), harmless=True))


def renew_lease(sandbox_id: str, *, timeout: float | None = None) -> Flow[models.Lease]:
    """Begin a new period of the lease of a sandbox.

    Args:
        sandbox_id: Which.
        timeout: Seconds until it is given up, and not tried again, as that happens soon anyway.
    """
    again = timeout is None
    request = Request("POST", at(sandbox_id, "lease"), harmless=again, timeout=timeout)
    try:
        return (yield from fetch(models.Lease, request))
    except NotFoundError as exc:
        if exc.code != "unknown":  # routers answer without a code where there is no such path
            raise
        raise UnsupportedError(
            "This server does not support leases: it is an original Wrenn server"
        ) from exc
    except ConflictError as exc:
        info = yield from get(sandbox_id)
        if info.status not in _GONE:
            raise
        reason = info.status_reason or "It was destroyed."
        raise LeaseLostError(
            f"Sandbox {info.id} is gone, and its lease with it. {reason}", status=info.status
        ) from exc


def suspend(sandbox_id: str) -> Flow[models.SandboxInfo]:
    """Freeze a sandbox."""
    request = Request("POST", at(sandbox_id, "pause"), timeout=_BOOT_TIMEOUT)
    return fetch(models.SandboxInfo, request)


def resume(sandbox_id: str) -> Flow[models.SandboxInfo]:
    """Thaw a sandbox."""
    request = Request("POST", at(sandbox_id, "resume"), timeout=_BOOT_TIMEOUT)
    return fetch(models.SandboxInfo, request)


def metrics(sandbox_id: str, range: str | None) -> Flow[models.SandboxMetrics]:
    """Ask for the use of resources over time."""
    params = arguments.without_none(range=arguments.optional_text(range, "range"))
    return fetch(models.SandboxMetrics, Request("GET", at(sandbox_id, "metrics"), params=params))


def wait_ready(
    sandbox_id: str, *, timeout: float = 30, interval: float = 0.2
) -> Flow[models.SandboxInfo]:
    """Wait until a sandbox runs."""
    limit = arguments.seconds(timeout, "timeout")
    started = yield from now()
    while True:
        info = yield from get(sandbox_id)
        if info.status == "running":
            return info
        _refuse_hopeless(info)
        moment = yield from now()
        left = started + (limit or 0) - moment
        if left <= 0:
            raise SandboxTimeoutError(
                f"Sandbox {info.id} is still {info.status} after {timeout:g} s; it may become"
                " ready later",
                outcome="unknown",
                is_retryable=True,
            )
        yield from pause(min(interval, left))


def at(sandbox_id: str, *more: str) -> str:
    """Return the path of a sandbox, or of something below it."""
    return "/".join([path(_ROOT + "/{}", arguments.sandbox_id(sandbox_id)), *more])


def _creation(**fields: Any) -> dict[str, Any]:
    try:
        model = models.CreateSandboxRequest.model_validate(fields, strict=True)
    except pydantic.ValidationError as exc:
        raise InvalidArgumentError(explain(exc)) from None
    return model.to_dict()


def _make(server: Server, request: Request) -> Flow[Creation]:
    """Ask for a sandbox that is nobody's but ours."""
    yield Undo(lambda: _undo_create(server, request))
    try:
        return (yield from _ask(request))
    except (TransportError, APIError) as exc:
        # An error without a code is not the server's, but of a proxy that gave up waiting for it.
        lost = isinstance(exc, TransportError) or exc.code == "unknown"
        if lost and exc.outcome == "unknown":
            yield from _undo_lost(server, request, exc)
        raise


def _undo_create(server: Server, request: Request) -> Flow[None]:
    """Destroy what an abandoned request made: asked again, it names its sandbox.

    Raises:
        UnsupportedError: The server would make another one.
    """
    if not (yield from meta.keeps_keys(server, timeout=_UNDO_TIMEOUT)):
        raise UnsupportedError(
            "The sandbox may exist, and this server cannot tell which it is: it is an original"
            " Wrenn server. Look for it with sandboxes.list()"
        )
    creation = yield from _ask(replace(request, timeout=_UNDO_TIMEOUT))
    if creation.is_new:
        yield from _delete(Request("DELETE", at(creation.info.id), timeout=_UNDO_TIMEOUT))


def _ask(request: Request) -> Flow[Creation]:
    response = yield from send(request)
    may_exist = request.body.get("if_exists") == "get"
    return Creation(
        decode(models.SandboxInfo, request, response),
        is_new=not may_exist or response.status != 200,
    )


def _woken(info: models.SandboxInfo) -> Flow[models.SandboxInfo]:
    """Make a sandbox run if it is paused."""
    if info.status == "paused":
        try:
            return (yield from resume(info.id))
        except ConflictError:  # somebody else was faster
            info = yield from get(info.id)
    if info.status == "running":
        return info
    return (yield from wait_ready(info.id, timeout=_BOOT_TIMEOUT))


def _undo_lost(server: Server, request: Request, failure: TransportError | APIError) -> Flow[None]:
    try:
        yield from _undo_create(server, request)
    except UnsupportedError as exc:
        failure.is_retryable = False
        failure.add_note(str(exc))
    except SandlotError:
        failure.add_note(
            "The sandbox may exist: its lease, lifetime or idle timeout, if any, will end it."
        )
    else:
        failure.outcome = "not_started"
        failure.add_note("The sandbox, had it been made, was destroyed.")


def _delete(request: Request) -> Flow[None]:
    try:
        yield from execute(request)
    except NotFoundError as exc:
        if exc.code != "not_found":  # not the server says so, but something on the way to it
            raise


def _find(server: Server, id_or_name: str) -> Flow[models.SandboxInfo]:
    if _FULL_ID.fullmatch(arguments.filled_text(id_or_name, "id_or_name")):
        return (yield from get(id_or_name))
    if (yield from meta.known(server)) is None:
        return (yield from get(id_or_name))
    request = Request("GET", _ROOT, params={"name": id_or_name})
    found = yield from fetch(list[models.SandboxInfo], request)
    if not found:
        raise NotFoundError(
            f"There is no live sandbox named {id_or_name!r}", code="not_found", status_code=404
        )
    return found[0]


def _refuse_hopeless(info: models.SandboxInfo) -> None:
    """Raise if a sandbox will not run by waiting."""
    why = f": {info.status_reason}" if info.status_reason else ""
    match info.status:
        case "stopped":
            raise SandboxDestroyedError(f"Sandbox {info.id} is gone{why}", status="stopped")
        case "paused" | "hibernated":
            raise SandboxStateError(
                f"Sandbox {info.id} is {info.status} and does not become ready by waiting{why};"
                " call resume()",
                status=info.status,
            )
        case "error" | "missing":
            raise SandboxStateError(
                f"Sandbox {info.id} failed ({info.status}){why}; destroy it and create another",
                status=info.status,
            )
        case _:
            pass
