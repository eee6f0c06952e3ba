"""Operations on the kernels of the Jupyter server in a sandbox.

They follow Jupyter's REST interface (jupyter-server, `services/api/api.yaml`), which the server's
proxy makes reachable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from .._failures import from_response
from .._flow import Flow, Method, Port, Request, Response, Server, now, path, pause
from ..errors import (
    ContextNotFoundError,
    InvalidArgumentError,
    SandboxTimeoutError,
    UnexpectedResponseError,
    UnsupportedError,
)
from . import commands, meta

JUPYTER_PORT = 8888
RESUMED = "X-Sandlot-Resumed"
"""Header that says `yes` if no message was missed."""
DEFAULT_LANGUAGE = "python"

_PYTHON = "python3"
"""Name that Jupyter gives the kernel of its own interpreter."""
_TEMPLATE = "python-jupyter"
_START_TIMEOUT = 60.0
"""Seconds to wait for a server or a kernel to start."""
_WARMING = 5.0
"""Seconds in which an original server learns that something listens (wrenn: about one)."""
_POLL = 0.1
_MISSING = 3
_START = f"""
python3 -c 'import ipykernel, jupyter_server' 2>/dev/null || exit {_MISSING}
setsid nohup python3 -m jupyter_server --allow-root --no-browser \\
  --ServerApp.ip=127.0.0.1 --ServerApp.port={JUPYTER_PORT} --ServerApp.port_retries=0 \\
  --ServerApp.root_dir=/ --ServerApp.terminals_enabled=False --ServerApp.allow_origin='*' \\
  --ServerApp.allow_remote_access=True --ServerApp.disable_check_xsrf=True \\
  --ServerApp.websocket_ping_interval=0 --ZMQChannelsWebsocketConnection.limit_rate=False \\
  --IdentityProvider.token= --KernelRestarter.time_to_dead=0.5 >/dev/null 2>&1 </dev/null &
"""
"""Starts a server, unless there is one: then the port is taken, and this one ends at once."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A process that runs code and remembers.

    Attributes:
        id: Its id in the Jupyter server.
        spec: Name of what it was started from.
        language: What it speaks.
        state: What it does: `idle`, `busy`, `starting` or another word of Jupyter's.
    """

    id: str
    spec: str
    language: str
    state: str = "unknown"


@dataclass(frozen=True, slots=True)
class _Specs:
    """What kernels can be started from: names and their languages."""

    default: str
    languages: Mapping[str, str]

    def choose(self, language: str) -> str | None:
        """Return the name for a language, or for the name itself."""
        wanted = language.lower()
        if wanted in self.languages:
            return wanted
        fitting = [name for name, spoken in self.languages.items() if spoken.lower() == wanted]
        return self.default if self.default in fitting else next(iter(fitting), None)

    def language_of(self, name: str) -> str:
        """Return what a kernel speaks, as the user names it."""
        return self.languages.get(name, name)


class _RefusedError(Exception):
    """The Jupyter server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _SilentError(Exception):
    """Nothing listens on the port."""


def start(server: Server, sandbox_id: str, template: str, language: str) -> Flow[Kernel]:
    """Start a kernel, and the Jupyter server before it if need be."""
    if language.lower() == DEFAULT_LANGUAGE:
        # What is nearly always there is not looked up first.
        try:
            return (yield from _start(server, sandbox_id, template, _PYTHON, DEFAULT_LANGUAGE))
        except _RefusedError:
            pass
    specs = yield from _specs(server, sandbox_id, template)
    name = specs.choose(language)
    if name is None:
        known = ", ".join(sorted({*specs.languages, *specs.languages.values()})) or "none"
        raise InvalidArgumentError(
            f"language: nothing in this sandbox runs {language!r}; there is {known}"
        )
    try:
        spoken = specs.language_of(name)
        return (yield from _start(server, sandbox_id, template, name, spoken))
    except _RefusedError as exc:
        raise _unexpected("a kernel cannot be started", exc) from exc


def listing(server: Server, sandbox_id: str, template: str) -> Flow[list[Kernel]]:
    """List the kernels that run."""
    request = _request(sandbox_id, "GET", "/api/kernels")
    try:
        found = yield from _insist(server, sandbox_id, template, request)
    except _RefusedError as exc:
        raise _unexpected("the kernels cannot be listed", exc) from exc
    if not _is_list(found):
        raise UnexpectedResponseError(f"GET {request.path}: the answer is no list")
    specs = yield from _specs(server, sandbox_id, template)
    return [_kernel(request, each, specs.languages) for each in found]


def look_up(server: Server, sandbox_id: str, template: str, kernel_id: str) -> Flow[Kernel]:
    """Return a kernel that runs.

    Raises:
        ContextNotFoundError: There is no such kernel.
    """
    for kernel in (yield from listing(server, sandbox_id, template)):
        if kernel.id == kernel_id:
            return kernel
    raise _gone(kernel_id)


def languages(server: Server, sandbox_id: str, template: str) -> Flow[list[str]]:
    """List the languages that can be run."""
    specs = yield from _specs(server, sandbox_id, template)
    return sorted(set(specs.languages.values()))


def open_channels(sandbox_id: str, kernel_id: str, session: str, *, received: int) -> Flow[None]:
    """Open the conversation with a kernel.

    Args:
        sandbox_id: Where it is.
        kernel_id: Which it is.
        session: Who opens it; the same one gets what was said while nobody listened.
        received: Messages that it has got. Servers that can go on after them say so by `RESUMED`.
    """
    template = "/api/kernels/{}/channels?session_id={}&after={}"
    where = path(template, kernel_id, session, str(received))
    request = _request(sandbox_id, "GET", where, stream=True)
    try:
        response = yield from _exchange(request)
    except _RefusedError as exc:
        if exc.status == 404:
            raise _gone(kernel_id) from exc
        raise _unexpected("the kernel cannot be reached", exc) from exc
    except _SilentError as exc:
        raise _gone(kernel_id, "the Jupyter server has ended") from exc
    if response.status != 101:
        raise UnexpectedResponseError(
            f"GET {where}: the answer is {response.status} instead of a WebSocket"
        )


def interrupt(sandbox_id: str, kernel_id: str) -> Flow[None]:
    """Interrupt what a kernel runs, as Ctrl-C would."""
    return _order(sandbox_id, kernel_id, "POST", "/api/kernels/{}/interrupt")


def restart(sandbox_id: str, kernel_id: str) -> Flow[None]:
    """Start a kernel anew, without its memory."""
    return _order(sandbox_id, kernel_id, "POST", "/api/kernels/{}/restart")


def shut_down(sandbox_id: str, kernel_id: str) -> Flow[None]:
    """End a kernel; one that is gone is no error."""
    try:
        yield from _order(sandbox_id, kernel_id, "DELETE", "/api/kernels/{}")
    except ContextNotFoundError:
        return


def _order(sandbox_id: str, kernel_id: str, method: Method, where: str) -> Flow[None]:
    request = _request(sandbox_id, method, path(where, kernel_id), timeout=_START_TIMEOUT)
    try:
        _ = yield from _exchange(request)
    except _RefusedError as exc:
        if exc.status == 404:
            raise _gone(kernel_id) from exc
        raise _unexpected("the kernel does not obey", exc) from exc
    except _SilentError as exc:
        raise _gone(kernel_id, "the Jupyter server has ended") from exc


def _start(
    server: Server, sandbox_id: str, template: str, name: str, language: str
) -> Flow[Kernel]:
    body = {"name": name}
    request = _request(sandbox_id, "POST", "/api/kernels", body, timeout=_START_TIMEOUT)
    made = yield from _insist(server, sandbox_id, template, request)
    return _kernel(request, made, {name: language})


def _specs(server: Server, sandbox_id: str, template: str) -> Flow[_Specs]:
    request = _request(sandbox_id, "GET", "/api/kernelspecs")
    try:
        found = yield from _insist(server, sandbox_id, template, request)
    except _RefusedError as exc:
        raise _unexpected("the languages cannot be listed", exc) from exc
    listed = _object(_object(found).get("kernelspecs"))
    spoken = {
        name: _object(_object(each).get("spec")).get("language") for name, each in listed.items()
    }
    known = {name: language for name, language in spoken.items() if isinstance(language, str)}
    default = _object(found).get("default")
    return _Specs(default if isinstance(default, str) else "", known)


def _insist(server: Server, sandbox_id: str, template: str, request: Request) -> Flow[Any]:
    """Send a request, starting the Jupyter server if it does not run; return the JSON."""
    try:
        return (yield from _json(request))
    except _SilentError:
        pass
    if (yield from meta.known(server)) is None and (yield from _appears(sandbox_id, _WARMING)):
        return (yield from _json(request))
    yield from _start_server(server, sandbox_id, template)
    if not (yield from _appears(sandbox_id, _START_TIMEOUT)):
        raise SandboxTimeoutError(
            f"The Jupyter server in sandbox {sandbox_id} was not ready after {_START_TIMEOUT:g} s;"
            " no code was run"
        )
    return (yield from _json(request))


def _start_server(server: Server, sandbox_id: str, template: str) -> Flow[None]:
    command = commands.command(_START, None)
    result = yield from commands.execute(server, sandbox_id, command, check=False)
    if not result.ok:
        raise UnsupportedError(
            f"There is no Jupyter server in sandbox {sandbox_id}, which its template {template!r}"
            f" lacks, and code needs one: create the sandbox from {_TEMPLATE!r}. No code was run"
        )


def _appears(sandbox_id: str, patience: float) -> Flow[bool]:
    """Wait for the Jupyter server; return whether it answers."""
    give_up = (yield from now()) + patience
    while (yield from now()) < give_up:
        try:
            _ = yield from _exchange(_request(sandbox_id, "GET", "/api/status"))
        except (_SilentError, _RefusedError):
            yield from pause(_POLL)
        else:
            return True
    return False


def _request(
    sandbox_id: str,
    method: Method,
    where: str,
    body: Any = None,
    *,
    stream: bool = False,
    timeout: float | None = None,
) -> Request:
    port = Port(sandbox_id, JUPYTER_PORT)
    return Request(method, where, body, stream=stream, timeout=timeout, port=port)


def _exchange(request: Request) -> Flow[Response]:
    response: Response = yield request
    if response.status < 300:
        return response
    found = _object(_parsed(response.content))
    message = found.get("message")
    if isinstance(message, str):
        raise _RefusedError(response.status, message[:500])
    if "html" in response.headers.get("content-type", ""):  # Jupyter's way where browsers look
        raise _RefusedError(response.status, "a page for people")
    # Original servers say it in words only (wrenn: 502 `proxy error: ...`, 503 while it boots).
    closed = response.headers.get("x-sandlot-proxy", "port_closed") == "port_closed"
    if response.status in (502, 503) and closed:
        raise _SilentError
    raise from_response(response.status, response.content, response.headers)


def _json(request: Request) -> Flow[Any]:
    response = yield from _exchange(request)
    found = _parsed(response.content)
    if found is None:
        raise UnexpectedResponseError(
            f"{request.method} {request.path}: the Jupyter server's answer is not JSON",
            outcome="finished",
        )
    return found


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _kernel(request: Request, found: Any, languages: Mapping[str, str]) -> Kernel:
    model = _object(found)
    kernel_id, name, state = model.get("id"), model.get("name"), model.get("execution_state")
    for text in (kernel_id, name):
        if not isinstance(text, str) or not _NAME.fullmatch(text):
            raise UnexpectedResponseError(
                f"{request.method} {request.path}: the Jupyter server describes no kernel",
                outcome="finished",
            )
    assert isinstance(kernel_id, str)
    assert isinstance(name, str)
    return Kernel(
        kernel_id, name, languages.get(name, name), state if isinstance(state, str) else "unknown"
    )


def _gone(
    kernel_id: str, why: str = "it was closed, or its sandbox's Jupyter server restarted"
) -> ContextNotFoundError:
    return ContextNotFoundError(
        f"There is no context {kernel_id!r}: {why}", code="not_found", status_code=404
    )


def _unexpected(what: str, refusal: _RefusedError) -> UnexpectedResponseError:
    return UnexpectedResponseError(f"{what}: the Jupyter server says {refusal.status}: {refusal}")


def _object(value: Any) -> dict[str, Any]:
    return value if _is_object(value) else {}


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
