"""Operations on files and directories, without I/O."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from sandlot._flow import Flow, Server
from sandlot._operations import trees
from sandlot.errors import (
    ConflictError,
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    NotFoundError,
    UnexpectedResponseError,
    UnsupportedError,
)
from sandlot.models import Capabilities
from tests.operations.conftest import ID, INFO, Play, answer, problem

ENTRY = {
    "name": "b",
    "path": "/home/user/b",
    "type": "file",
    "size": 1,
    "mode": 420,
    "permissions": "-rw-r--r--",
    "owner": "user",
    "group": "user",
    "modified_at": 1_000_000_000,
}
ODD = base64.b64encode(b"/home/user/\xff").decode()
CALLS: dict[str, tuple[Callable[[Server], Flow[Any]], dict[str, Any]]] = {
    "stat": (lambda server: trees.stat(server, ID, "a"), {"path": "a"}),
    "list": (lambda server: trees.list_entries(server, ID, "a", 2), {"path": "a", "depth": 2}),
    "mkdir": (lambda server: trees.make_directory(server, ID, "a"), {"path": "a"}),
    "remove": (lambda server: trees.remove(server, ID, "a"), {"path": "a"}),
    "move": (
        lambda server: trees.move(server, ID, "a", "b", overwrite=False),
        {"source": "a", "destination": "b", "overwrite": False},
    ),
    "copy": (
        lambda server: trees.copy(server, ID, "a", "b", overwrite=True),
        {"source": "a", "destination": "b", "overwrite": True},
    ),
    "chmod": (
        lambda server: trees.change_mode(server, ID, "a", 0o755),
        {"path": "a", "mode": 0o755},
    ),
    "archive": (lambda server: trees.open_archive(server, ID, "a"), {"path": "a"}),
}
HARMLESS = {"stat", "list", "chmod", "archive"}


@pytest.fixture
def server() -> Server:
    fields = {
        "server": "sandlot",
        "version": "1",
        "features": ["files.archive", "files.tree"],
        "isolation": {"level": "full", "engine": "local"},
        "limits": {},
    }
    return Server(Capabilities.model_validate(fields), asked=True)


@pytest.mark.parametrize("name", CALLS)
def test_requests(play: Play, server: Server, name: str) -> None:
    call, body = CALLS[name]
    reply = {"list": answer({"entries": [ENTRY]})}.get(name, answer({"entry": ENTRY}))
    result = play(call(server), reply)
    [request] = play.sent
    assert (request.method, request.path) == ("POST", f"/v1/sandboxes/{ID}/files/{name}")
    assert request.body == body
    assert request.is_idempotent is (name in HARMLESS)
    assert request.stream is (name == "archive")
    if name not in ("remove", "archive"):
        [entry] = result if name == "list" else [result]
        assert entry.to_dict() == ENTRY


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_sent_to_servers_that_lack_it(play: Play, server: Server, name: str) -> None:
    call, _ = CALLS[name]
    for other in (Server(None, asked=True), server):
        if other.capabilities is not None:
            other.capabilities.features = ["files"]
        with pytest.raises(UnsupportedError):
            play(call(other))
    assert play.steps == []


@pytest.mark.parametrize("name", CALLS)
def test_missing_files(play: Play, server: Server, name: str) -> None:
    call, _ = CALLS[name]
    with pytest.raises(FileNotFoundInSandboxError, match="'a'"):
        play(call(server), problem("not_found", 404), answer(INFO))
    with pytest.raises(NotFoundError) as caught:
        play(call(server), problem("not_found", 404), problem("not_found", 404))
    assert not isinstance(caught.value, FileNotFoundInSandboxError)
    with pytest.raises(ConflictError):
        play(call(server), problem("conflict", 409))


def test_exists(play: Play, server: Server) -> None:
    assert play(trees.exists(server, ID, "a"), answer({"entry": ENTRY})) is True
    gone = (problem("not_found", 404), answer(INFO))
    assert play(trees.exists(server, ID, "a"), *gone) is False
    with pytest.raises(NotFoundError):  # the sandbox is missing, not the file
        play(trees.exists(server, ID, "a"), *[problem("not_found", 404)] * 2)


def test_names_of_any_bytes(play: Play, server: Server) -> None:
    told = {**ENTRY, "name": "\ufffd", "path": "/home/user/\ufffd", "path_base64": ODD}
    entry = play(trees.stat(server, ID, "/home/user/\udcff"), answer({"entry": told}))
    assert play.sent[0].body == {"path_base64": ODD}
    assert (entry.path, entry.name) == ("/home/user/\udcff", "\udcff")
    _ = play(trees.move(server, ID, "\udcff", "plain", overwrite=False), answer({"entry": ENTRY}))
    assert play.sent[1].body == {
        "source_base64": "/w==",
        "destination": "plain",
        "overwrite": False,
    }
    with pytest.raises(UnexpectedResponseError):
        play(trees.stat(server, ID, "a"), answer({"entry": {**told, "path_base64": "?"}}))


@pytest.mark.parametrize("path", ["", "a\0", b"a", None, "\ud800"])
def test_bad_paths(play: Play, server: Server, path: Any) -> None:
    for flow in (
        lambda: trees.stat(server, ID, path),
        lambda: trees.list_entries(server, ID, path, 1),
        lambda: trees.move(server, ID, path, "b", overwrite=False),
        lambda: trees.copy(server, ID, "a", path, overwrite=False),
        lambda: trees.extract(server, ID, path, [b""]),
        lambda: trees.open_archive(server, ID, path),
        lambda: trees.write_many(ID, {"good": b"", path: b""}),
    ):
        with pytest.raises(InvalidArgumentError):
            play(flow())
    assert play.steps == []


def test_text(play: Play) -> None:
    assert play(trees.read_text(ID, "a", "utf-8"), answer("\xeb")) == '"\\u00eb"'
    for encoding in ("nonsense", "utf-16"):
        with pytest.raises(InvalidArgumentError):
            play(trees.read_text(ID, "a", encoding), answer("odd"))
    for data in (3, None, "\ud800", ["a"]):
        with pytest.raises(InvalidArgumentError):
            trees.write(ID, "a", data)  # type: ignore[arg-type]
