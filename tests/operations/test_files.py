"""Operations that move files, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Request, Upload
from sandlot._operations import files
from sandlot.errors import (
    AgentError,
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    NotFoundError,
    TransportError,
)
from tests.operations.conftest import ID, Play, answer, info, problem

FILES = f"/v1/sandboxes/{ID}/files"


def test_write(play: Play) -> None:
    play(files.write(ID, "a b", bytearray(b"x")), answer(b"", 204))
    upload = Upload("a b", b"x", 1)
    assert play.steps == [Request("POST", f"{FILES}/write", upload=upload, timeout=60)]


def test_stream_write(play: Play) -> None:
    pieces = iter([b"x"])
    play(files.stream_write(ID, "a", pieces), answer(b"", 204))
    assert play.sent[0].upload == Upload("a", pieces)
    assert not play.sent[0].is_idempotent


@pytest.mark.parametrize("data", ["text", None, 3, ["a"]])
def test_write_takes_bytes(data: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        files.write(ID, "a", data)


@pytest.mark.parametrize("stream", ["text", None, 3, {"a": b"b"}])
def test_stream_write_takes_pieces(stream: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        files.stream_write(ID, "a", stream)


@pytest.mark.parametrize("path", ["", "a\0", b"a", None, "\ud800", "a\0\udcff"])
def test_hostile_paths(play: Play, path: Any) -> None:
    for flow in (lambda: files.read(ID, path), lambda: files.open_read(ID, path)):
        with pytest.raises(InvalidArgumentError):
            play(flow())
    with pytest.raises(InvalidArgumentError):
        files.write(ID, path, b"")
    assert play.steps == []


def test_read(play: Play) -> None:
    assert play(files.read(ID, "a"), answer(b"\xff")) == b"\xff"
    assert play.sent[0].body == {"path": "a"}
    assert play.sent[0].is_idempotent


def test_a_missing_file(play: Play) -> None:
    with pytest.raises(FileNotFoundInSandboxError, match="'a'") as caught:
        play(files.read(ID, "a"), problem("not_found", 404, x_request_id="r"), info())
    assert isinstance(caught.value, FileNotFoundError | NotFoundError)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.request_id == "r"


def test_a_missing_sandbox(play: Play) -> None:
    with pytest.raises(NotFoundError) as caught:
        play(files.read(ID, "a"), problem("not_found", 404), problem("not_found", 404))
    assert not isinstance(caught.value, FileNotFoundError)


def test_a_missing_file_of_an_original_server(play: Play) -> None:
    text = 'internal: read file: read file /x: status 404: {"code": 404}'
    with pytest.raises(FileNotFoundInSandboxError):
        play(files.read(ID, "/x"), problem("agent_error", 502, text))


def test_other_agent_errors(play: Play) -> None:
    with pytest.raises(AgentError):
        play(files.read(ID, "/x"), problem("agent_error", 502, "status 400: is a directory"))


def test_an_empty_stream_may_be_a_missing_file(play: Play) -> None:
    text = "read file /x: status 404"
    with pytest.raises(FileNotFoundInSandboxError):
        play(files.confirm_empty(ID, "/x"), problem("agent_error", 502, text))
    play(files.confirm_empty(ID, "/x"), answer(b""))
    with pytest.raises(TransportError, match="broke off"):
        play(files.confirm_empty(ID, "/x"), answer(b"something"))
