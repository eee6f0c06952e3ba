"""Operations that run commands."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import models
from .._flow import Flow, Request, Server, fetch, send
from ..errors import (
    AgentError,
    CommandTimeoutError,
    InvalidArgumentError,
    UnexpectedResponseError,
    UnsupportedError,
)
from ..results import ExecResult
from . import arguments, meta, sandboxes

_DEFAULT_TIMEOUT = 30
"""Seconds that a server gives a command whose `timeout_sec` is 0 or absent."""
_MARGIN = 15
"""Seconds that the client waits longer, so that the server's answer comes first."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the user wants it, checked."""

    argv: Sequence[str]
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    user: str | None = None
    stdin: bytes | None = None
    timeout_sec: float | None = None
    max_output_bytes: int | None = None

    def limited(self) -> Command:
        """Return the same command with the time limit that `exec` has when none is given."""
        return replace(self, timeout_sec=self.timeout_sec or _DEFAULT_TIMEOUT)

    def folded(self, where: str) -> Command:
        """Return the same command for a server that knows neither `cwd` nor `env`.

        Raises:
            UnsupportedError: It needs more than can be expressed so.
        """
        needs = {"user": self.user, "max_output_bytes": self.max_output_bytes}
        lacking = [name for name, value in needs.items() if value is not None]
        if lacking:
            raise UnsupportedError(
                f"This server does not support {', '.join(lacking)} for {where}: it is an original"
                " Wrenn server, which would ignore it. Nothing was run"
            )
        # wrenn: 1.2, whole numbers only.
        limit = None if self.timeout_sec is None else math.ceil(self.timeout_sec)
        argv = list(self.argv)
        if self.env:
            argv = ["env", *(f"{name}={value}" for name, value in self.env.items()), *argv]
        if self.cwd:
            argv = [arguments.SHELL, "-c", 'cd -- "$0" && exec "$@"', self.cwd, *argv]
        return Command(argv, stdin=self.stdin, timeout_sec=limit)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a message that starts it."""
        return arguments.without_none(
            cmd=self.argv[0],
            args=list(self.argv[1:]),
            timeout_sec=self.timeout_sec,
            cwd=self.cwd,
            env=self.env,
            user=self.user,
        )


def command(
    cmd: str | Sequence[str],
    args: Sequence[str] | None,
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    stdin: str | bytes | None = None,
    timeout_sec: float | None = None,
    max_output_bytes: int | None = None,
) -> Command:
    """Check what a user wants to run."""
    return Command(
        arguments.argv(cmd, args),
        arguments.optional_text(cwd, "cwd"),
        arguments.environment(env),
        arguments.optional_text(user, "user"),
        stdin_bytes(stdin),
        arguments.seconds(timeout_sec, "timeout_sec"),
        arguments.whole(max_output_bytes, "max_output_bytes"),
    )


def stdin_bytes(value: Any) -> bytes | None:
    """Check what a command shall read."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as exc:
            raise InvalidArgumentError(f"stdin is not valid Unicode: {exc.reason}") from exc
    if arguments.is_bytes(value):
        return bytes(value)
    raise InvalidArgumentError(f"stdin must be str or bytes, not {type(value).__name__}")


def execute(server: Server, sandbox_id: str, command: Command, *, check: bool) -> Flow[ExecResult]:
    """Run a command and wait for its end."""
    where = sandboxes.at(sandbox_id, "exec")
    if _has_additions(command) and (yield from meta.known(server)) is None:
        if command.stdin is not None:
            raise UnsupportedError(
                "This server does not support stdin for exec: it is an original Wrenn server."
                " Nothing was run; upload a file and redirect from it"
            )
        command = command.folded("exec")
    body = command.fields()
    if command.max_output_bytes is not None:
        body["max_output_bytes"] = command.max_output_bytes
    if command.stdin is not None:
        body |= _stdin_fields(command.stdin)
    wait = (command.timeout_sec or _DEFAULT_TIMEOUT) + _MARGIN
    try:
        answer = yield from fetch(models.ExecResponse, Request("POST", where, body, timeout=wait))
    except AgentError as exc:
        # An original server has no code of its own for this (wrenn: 502 agent_error).
        if "deadline" in exc.message.lower() or "timed out" in exc.message.lower():
            raise CommandTimeoutError(
                f"The command did not end in time ({exc.message}); it may still run, and its output"
                " is lost",
                code=exc.code,
                request_id=exc.request_id,
            ) from exc
        raise
    result = _result(answer)
    return result.check() if check else result


def open_stream(sandbox_id: str) -> Flow[None]:
    """Open the conversation in which a command is run; nothing runs yet."""
    return require_upgrade(sandboxes.at(sandbox_id, "exec/stream"))


def require_upgrade(where: str) -> Flow[None]:
    """Open a WebSocket."""
    response = yield from send(Request("GET", where, stream=True))
    if response.status != 101:
        raise UnexpectedResponseError(
            f"GET {where}: the answer is {response.status} instead of a WebSocket: a proxy does not"
            " let them through, or base_url is wrong. Nothing was run",
            request_id=response.headers.get("x-request-id"),
        )


def _has_additions(command: Command) -> bool:
    wanted = (command.cwd, command.env, command.user, command.stdin, command.max_output_bytes)
    is_fraction = not float(command.timeout_sec or 0).is_integer()
    return is_fraction or any(value is not None for value in wanted)


def _stdin_fields(data: bytes) -> dict[str, str]:
    try:
        return {"stdin": data.decode()}
    except UnicodeDecodeError:
        return {"stdin": base64.b64encode(data).decode(), "stdin_encoding": "base64"}


def _result(answer: models.ExecResponse) -> ExecResult:
    raw_stdout = raw_stderr = None
    stdout, stderr = answer.stdout, answer.stderr
    match answer.encoding:
        case "utf-8":
            pass
        case "base64":
            try:
                raw_stdout = base64.b64decode(stdout, validate=True)
                raw_stderr = base64.b64decode(stderr, validate=True)
            except binascii.Error as exc:
                raise UnexpectedResponseError(
                    f"exec: output is not the base64 it claims to be: {exc}", outcome="finished"
                ) from exc
            stdout, stderr = (
                raw_stdout.decode(errors="replace"),
                raw_stderr.decode(errors="replace"),
            )
        case other:
            raise UnexpectedResponseError(
                f"exec: output has the unknown encoding {other!r}", outcome="finished"
            )
    return ExecResult(
        stdout,
        stderr,
        answer.exit_code,
        answer.duration_ms,
        answer.encoding,
        answer.signal,
        bool(answer.timed_out),
        bool(answer.truncated),
        bool(answer.oom),
        bool(answer.no_space),
        raw_stdout,
        raw_stderr,
    )
