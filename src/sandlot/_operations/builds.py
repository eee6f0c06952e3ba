"""Operations on builds of templates."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from .. import models
from .._flow import (
    Flow,
    Request,
    Server,
    Upload,
    decode,
    execute,
    fetch,
    now,
    path,
    pause,
    send,
)
from ..errors import BuildFailedError, BuildTimeoutError, InvalidArgumentError
from . import arguments, meta, recipes

_ROOT = "/v1/admin/builds"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UPLOAD_TIMEOUT = 300.0
"""Seconds to wait for the answer to an archive, which is unpacked first."""
_CANCEL_TIMEOUT = 60.0
_LONGEST_WAIT = 20
_PATIENCE = 20.0
"""Seconds that an answer may take beyond what the server was asked to wait."""
_PAUSE = 0.1
_OLD_PAUSE = 1.0


def create(
    server: Server,
    name: str,
    recipe: str | Sequence[str],
    *,
    base_template: str | None,
    archive: bytes | None,
    healthcheck: str | None,
    vcpus: int | None,
    memory_mb: int | None,
    disk_mb: int | None,
    network: str | None,
) -> Flow[models.Build]:
    """Queue a build."""
    if not _NAME.fullmatch(arguments.text(name, "name")):
        raise InvalidArgumentError(
            f"not the name of a template: {name!r:.200}; it has 1 to 64 characters of"
            " A-Za-z0-9._- and begins with a letter or digit"
        )
    lines = recipes.lines(recipe)
    body = arguments.without_none(
        name=name,
        recipe=lines,
        base_template=arguments.optional_text(base_template, "base_template"),
        healthcheck=arguments.optional_text(healthcheck, "healthcheck"),
        vcpus=arguments.whole(vcpus, "vcpus"),
        memory_mb=arguments.whole(memory_mb, "memory_mb"),
        disk_mb=arguments.whole(disk_mb, "disk_mb"),
        network=arguments.optional_text(network, "network"),
    )
    if disk_mb is not None or network is not None:
        yield from meta.require(server, "disk_mb and network of builds", "builds.network")
    headers = yield from meta.creation_key(server)
    if not headers:
        body["recipe"] = recipes.instructions(lines)
    if archive is None:
        request = Request("POST", _ROOT, body, headers=headers)
    else:
        text = json.dumps(body, ensure_ascii=False)
        form = Upload(text, archive, len(archive), fields=("config", "archive"))
        request = Request("POST", _ROOT, upload=form, headers=headers, timeout=_UPLOAD_TIMEOUT)
    return (yield from fetch(models.Build, request))


def list_page(
    *, limit: int | None, cursor: str | None
) -> Flow[tuple[list[models.Build], str | None]]:
    """List builds; return them and the cursor of the next page."""
    params = arguments.without_none(cursor=arguments.optional_text(cursor, "cursor"))
    if limit is not None:
        params["limit"] = str(arguments.whole(limit, "limit"))
    request = Request("GET", _ROOT, params=params)
    response = yield from send(request)
    return decode(list[models.Build], request, response), response.headers.get("x-next-cursor")


def get(build_id: str) -> Flow[models.Build]:
    """Look up a build."""
    return fetch(models.Build, Request("GET", _at(build_id)))


def cancel(build_id: str) -> Flow[None]:
    """End a build."""
    return execute(Request("POST", _at(build_id, "cancel"), timeout=_CANCEL_TIMEOUT))


class Reader:
    """Reads the log of a build until the build has ended.

    Attributes:
        done: All has been read.
    """

    def __init__(self, server: Server, build_id: str, timeout: float | None) -> None:
        self.done = False
        self._server = server
        self._build_id = build_id
        self._address = _at(build_id)
        self._timeout = arguments.seconds(timeout, "timeout")
        self._deadline: float | None = None
        self._offset = 0

    def read(self) -> Flow[list[models.BuildLogPiece]]:
        """Return what has come since the last time, perhaps nothing.

        Raises:
            BuildTimeoutError: It takes too long.
        """
        left = yield from self._left()
        capabilities = yield from meta.known(self._server)
        if capabilities is None or "builds.log" not in capabilities.features:
            return (yield from self._read_steps(left))
        wait = _LONGEST_WAIT if left is None else max(0, min(_LONGEST_WAIT, int(left)))
        request = Request(
            "GET",
            f"{self._address}/log",
            params={"offset": str(self._offset), "wait_sec": str(wait)},
            timeout=wait + _PATIENCE,
        )
        page = yield from fetch(models.BuildLogPage, request)
        self._offset = page.next_offset
        self.done = page.status not in ("pending", "running") and not page.pieces
        if not self.done:
            yield from pause(_PAUSE if left is None else min(_PAUSE, left))
        return page.pieces

    def result(self) -> Flow[models.Build]:
        """Return the build, which has ended.

        Raises:
            BuildFailedError: It failed, or was cancelled.
        """
        build = yield from get(self._build_id)
        if build.status != "success":
            reason = build.error or f"its status is {build.status}"
            raise BuildFailedError(f"{build.name!r} was not built: {reason}", build=build)
        return build

    def _left(self) -> Flow[float | None]:
        if self._timeout is None:
            return None
        moment = yield from now()
        if self._deadline is None:
            self._deadline = moment + self._timeout
        elif moment >= self._deadline:
            raise BuildTimeoutError(
                f"The build {self._build_id} takes longer than {self._timeout:g} s; it goes on:"
                " wait again, or cancel it",
                outcome="unknown",
                is_retryable=True,
            )
        return self._deadline - moment

    def _read_steps(self, left: float | None) -> Flow[list[models.BuildLogPiece]]:
        """Ask an original server, which tells of steps that have ended."""
        build = yield from get(self._build_id)
        self.done = build.status not in ("pending", "running")
        news = build.logs[self._offset :]
        self._offset = len(build.logs)
        if not self.done:
            yield from pause(_OLD_PAUSE if left is None else min(_OLD_PAUSE, left))
        return [
            models.BuildLogPiece(step=entry.step, stream=stream, text=text)
            for entry in news
            for stream, text in (
                ("command", entry.cmd),
                ("stdout", entry.stdout),
                ("stderr", entry.stderr),
            )
            if text
        ]


def _at(build_id: Any, *tail: str) -> str:
    return "/".join((path(_ROOT + "/{}", arguments.identifier(build_id, "build")), *tail))
