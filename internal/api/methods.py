"""Write docs/api.md: which method of the SDK asks which endpoints of the contract.

python internal/api/methods.py            write docs/api.md
python internal/api/methods.py --check    fail if that file is not what would be written

Every public method is called, against a server that answers with the examples of the contract and
remembers what it was asked. A method that asks nothing is an error unless it is listed below.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import inspect
import json
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast, get_type_hints

from sandlot import Client, Retry, Sandbox, SandlotError

yaml: Any = importlib.import_module("yaml")  # it has no types

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "internal" / "api" / "openapi.yaml"
PAGE = ROOT / "docs" / "api.md"
OPERATIONS = ROOT / "src" / "sandlot" / "_operations"
SANDBOX = "cl-0d6mbv0qsirzq3cwfa3xcpzsm"
PORT = "a port of the sandbox"

ARGUMENTS: Mapping[str, Any] = {
    "active": True,
    "channel_id": "ch-0d6mbv0qsirzq3cwfa3xcpzsm",
    "checkpoint": "cp-0d6mbv0qsirzq3cwfa3xcpzsm",
    "cmd": "true",
    "code": "1",
    "config": {"url": "https://example.com/hook"},
    "build_id": "bld-0d6mbv0qsirzq3cwfa3xcpzsm",
    "confirmation": "ada@example.org",
    "contents": {"a.txt": "data"},
    "current": "correct horse",
    "data": b"data",
    "destination": "b.txt",
    "email": "ada@example.org",
    "events": ["capsule.created"],
    "enabled": True,
    "host_id": "host-0d6mbv0qsirzq3cwfa3xcpzsm",
    "id": "0d6mbv0q",
    "id_or_name": SANDBOX,
    "key_id": "key-0d6mbv0qsirzq3cwfa3xcpzsm",
    "method": "GET",
    "mode": 0o644,
    "name": "ready",
    "new": "battery staple",
    "password": "correct horse",
    "path": "/health",
    "port": 8000,
    "provider": "webhook",
    "recipe": ["RUN true"],
    "role": "admin",
    "sandbox_id": SANDBOX,
    "sandbox_ids": [SANDBOX],
    "selector": "proc-0d6mbv0q",
    "stream": [b"data"],
    "tag": "gpu",
    "team_id": "team-0d6mbv0qsirzq3cwfa3xcpzsm",
    "type": "regular",
    "user_id": "usr-0d6mbv0qsirzq3cwfa3xcpzsm",
    "value": 1,
}
"""What the parameters are given that have no default, by their names."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "client.builds.wait": {"timeout": 0.1},
    "client.channels.update": {"name": "ops"},
    "client.sandboxes.reap": {"older_than": 1.0},
}
"""What some methods are given besides, so that they do all that they can do."""

LATER: Mapping[str, list[str]] = {
    "context.interrupt": [PORT],
    "context.restart": [PORT],
    "sandbox.code.interrupt": [PORT],
    "sandbox.code.restart": [PORT],
    "client.sandboxes.connect": ["GET /v1/sandboxes", "POST /v1/sandboxes/{id}/resume"],
    "sandbox.spawn": [
        "GET /v1/sandboxes/{id}/processes/{selector}/stream",
        "DELETE /v1/sandboxes/{id}/processes/{selector}",
    ],
    "sandbox.exec": ["GET /v1/sandboxes/{id}/exec/stream"],
}
"""What some methods ask only in cases that there are not here: a name instead of an id, a sandbox
that is paused, somebody who listens to output, a kernel that there is already, a process."""

LOCAL = {
    "client.base_url",
    "client.close",
    "client.from_env",
    "client.local",
    "client.request",
    "context.close",
    "context.detach",
    "context.id",
    "context.language",
    "context.seen",
    "context.state",
    "sandbox.code",
    "sandbox.code.choose",
    "sandbox.code.close",
    "sandbox.code.context",
    "sandbox.files",
    "sandbox.get_url",
    "sandbox.http_client",
    "sandbox.is_destroyed",
    "sandbox.isolation",
    "sandbox.metadata",
    "sandbox.name",
    "sandbox.processes",
    "sandbox.proxy",
    "sandbox.status",
    "sandbox.template",
}
"""What asks nothing, or what it is told to ask."""

OF: Mapping[str, str] = {"context": ", of `sandbox.code.context()`"}
"""Where things come from whose names do not tell."""

HEAD = """\
# The API, method by method

Written by `make generate` from the SDK and the contract (`internal/api/openapi.yaml`), and checked
by `make check`: every public method is called, and what it asks is written down. `AsyncClient` and
`AsyncSandbox` have the same methods and ask the same.

Where an addition to the original protocol is needed, `GET /v1/capabilities` is asked first, once
for each client; it is left out below. Paths under `/v1/sandboxes` are also served as
`/v1/capsules`. For what has no method there is `client.request(...)`. Where it says *a port of the
sandbox*, a program in the sandbox is asked, through the server: for code, the Jupyter server of
the template.\
"""
TAIL = """\
## Endpoints without a method

`client.request(...)` can ask them.\
"""


class Examples:
    """A server that answers with the examples of the contract, and remembers what it was asked."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._patterns = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path)
            for path in sorted(document["paths"], key=lambda path: "{" in path)
        ]
        words = (
            set(re.findall(r'"([a-z_0-9.]+)"', file.read_text()))
            for file in OPERATIONS.glob("*.py")
        )
        # All that any operation may want.
        self._features = sorted(set[str]().union(*words))
        self.asked: list[str] = []

    def answer(self, method: str, path: str, host: str) -> tuple[int, str, bytes]:
        """Return status, type and body of an answer."""
        if re.match(r"\d+-cl-", host):
            self.asked.append(PORT)
            return 404, "text/plain", b"nothing"
        for pattern, template in self._patterns:
            operation = self._document["paths"][template].get(method.lower())
            if operation is not None and pattern.fullmatch(path):
                self.asked.append(f"{method} {template}")
                return self._example(template, operation["responses"])
        raise AssertionError(f"the contract has no {method} {path}")

    def _example(self, path: str, responses: dict[str, Any]) -> tuple[int, str, bytes]:
        status = min(set(responses) & {"101", "200", "201", "204"})
        if status == "101":
            return 404, "application/json", b'{"error": {"code": "not_found", "message": ""}}'
        if status == "200" and "201" in responses:
            status = "201"
        response = responses[status]
        if "$ref" in response:
            name = response["$ref"].rpartition("/")[2]
            response = self._document["components"]["responses"][name]
        for kind, content in response.get("content", {}).items():
            if kind == "application/json":
                example = content.get("example", {})
                if path == "/v1/capabilities":
                    example = {**example, "features": self._features}
                return int(status), kind, json.dumps(example, default=str).encode()
            return int(status), kind, b"data"
        return int(status), "", b""


def serve(examples: Examples) -> ThreadingHTTPServer:
    """Start a server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            _ = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            host = self.headers.get("Host", "")
            status, kind, body = examples.answer(self.command, path, host)
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            _ = self.wfile.write(body)
            self.close_connection = True

        def __getattr__(self, name: str) -> Callable[[], None]:
            """Treat all methods alike."""
            if name.startswith("do_"):
                return self.handle_request
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def surface(client: Client) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what users call the things that have public methods, and where to get such a thing."""
    yield "client", lambda: client
    for name in get_type_hints(Client):
        yield f"client.{name}", functools.partial(getattr, client, name)
    yield "sandbox", lambda: client.sandboxes.get(SANDBOX)
    yield "sandbox.files", lambda: client.sandboxes.get(SANDBOX).files
    yield "sandbox.processes", lambda: client.sandboxes.get(SANDBOX).processes
    yield "sandbox.code", lambda: client.sandboxes.get(SANDBOX).code
    yield "context", lambda: client.sandboxes.get(SANDBOX).code.context()


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties of a class, in order."""
    seen = set[str]()
    for each in kind.__mro__[:-1]:
        for name, member in vars(each).items():
            if not name.startswith("_") and callable(getattr(member, "fget", getattr(kind, name))):
                if name not in seen:
                    yield name, member
                seen.add(name)


def arguments(title: str, method: Callable[..., object], directory: Path) -> dict[str, Any]:
    """Return what to call a method with."""
    given: dict[str, Any] = dict(OPTIONS.get(title, {}))
    parameters = inspect.signature(method).parameters
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if name in ("source", "target"):
            given[name] = "a.txt" if "destination" in parameters else directory / name
        elif name in ARGUMENTS:
            given[name] = ARGUMENTS[name]
        else:
            raise SystemExit(f"{title}: ARGUMENTS needs a value for {name!r}")
    return given


def perform(method: Callable[..., object], given: Mapping[str, Any]) -> None:
    """Call a method to its end, or until an answer is of no use to it."""
    try:
        result = method(**given)
        with ExitStack() as stack:
            if hasattr(result, "__enter__") and not isinstance(result, Sandbox):
                _ = stack.enter_context(cast(AbstractContextManager[object], result))
            if isinstance(result, Iterator) or type(result).__name__.endswith("Stream"):
                _ = list(cast(Iterable[object], result))
    except SandlotError:
        pass  # there are neither WebSockets here nor programs in sandboxes


def asked(examples: Examples, title: str, method: Callable[..., object]) -> list[str]:
    """Call a method; return what it asked, but for what any of them may ask first."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "source"
        if title.endswith("_dir"):
            source.mkdir()
        else:
            _ = source.write_bytes(b"data")
        given = arguments(title, method, Path(directory))
        examples.asked.clear()
        perform(method, given)
    found = list(examples.asked)
    if title != "client.capabilities":
        found = [each for each in found if each != "GET /v1/capabilities"]
    return list(dict.fromkeys([*found, *LATER.get(title, ())]))


def page(document: dict[str, Any]) -> str:
    """Return the page."""
    examples = Examples(document)
    server = serve(examples)
    lines = [HEAD]
    problems: list[str] = []
    used = set[str]()
    with Client(
        "wrn_0123456789abcdef0123456789abcdef",
        base_url=f"http://127.0.0.1:{server.server_port}",
        retry=Retry(attempts=1),
    ) as client:
        for owner, get in surface(client):
            lines += [
                "",
                f"## `{owner}`{OF.get(owner, '')}",
                "",
                "| Method | Asks | What for |",
                "|---|---|---|",
            ]
            for name, member in members(type(get())):
                title = f"{owner}.{name}"
                if title in LOCAL:
                    continue
                found = asked(examples, title, getattr(get(), name))
                if not found:
                    problems.append(f"{title} asks nothing: say so in LOCAL, or help it along")
                used.update(found)
                what = (inspect.getdoc(member) or "").partition("\n")[0].removesuffix(".")
                lines.append(f"| `{name}` | {'<br>'.join(map(_code, found))} | {what} |")
    server.shutdown()
    everything = (
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "post", "put", "patch", "delete")
    )
    if rest := [each for each in everything if each not in used]:
        lines += ["", TAIL, "", *(f"- `{each}`" for each in rest)]
    if problems:
        raise SystemExit("\n".join(problems))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--check", action="store_true")
    check: bool = parser.parse_args().check
    wanted = page(yaml.safe_load(CONTRACT.read_text()))
    if not check:
        _ = PAGE.write_text(wanted)
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    diff = list(
        difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), "committed", "generated", lineterm=""
        )
    )
    if diff:
        print(*diff, "", f"{PAGE.relative_to(ROOT)} is stale: run `make generate`", sep="\n")
    return 1 if diff else 0


def _code(text: str) -> str:
    return text if text == PORT else f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
