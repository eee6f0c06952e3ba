"""Operations on the server itself, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Request, Server
from sandlot._operations import meta
from sandlot.errors import InvalidArgumentError, UnexpectedResponseError, UnsupportedError
from tests.operations.conftest import Play, answer, problem


def request(method: str = "GET", path: str = "/v1/x", **options: Any) -> Any:
    names = ("params", "json", "idempotency_key", "timeout")
    return meta.request(method, path, **{**dict.fromkeys(names), **options})


def test_capabilities_of_an_original_server(play: Play) -> None:
    with pytest.raises(UnsupportedError, match="original"):
        play(meta.capabilities(Server()), answer(b"404 page not found\n", 404))


def test_capabilities_are_asked_for_each_time(play: Play) -> None:
    server = Server(asked=True)
    body = {
        "server": "s",
        "version": "1",
        "features": ["a"],
        "isolation": {"level": "quantum", "engine": "e"},
        "limits": {},
    }
    found = play(meta.capabilities(server), answer(body))
    assert found.isolation.level == "quantum"
    assert server.capabilities is found


def test_a_failure_to_ask_is_not_taken_for_an_original_server(play: Play) -> None:
    server = Server()
    with pytest.raises(UnexpectedResponseError):
        play(meta.known(server), answer(b"{}"))
    assert not server.asked


def test_a_request_of_ones_own(play: Play) -> None:
    flow = request("post", json={"a": 1}, params={"b": "c"}, idempotency_key="k", timeout=3)
    answered = play(flow, answer([1], content_type="application/json; charset=utf-8"))
    assert answered == [1]
    assert play.steps == [
        Request("POST", "/v1/x", {"a": 1}, {"b": "c"}, {"Idempotency-Key": "k"}, timeout=3)
    ]


def test_answers_that_are_no_json(play: Play) -> None:
    assert play(request(), answer(b"", 204)) is None
    assert play(request(), answer(b"x", content_type="text/plain")) == b"x"
    with pytest.raises(UnexpectedResponseError):
        play(request(), answer(b"{", content_type="application/json"))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "v1",
        "/v1/%2e%2E/x",
        "//host/",
        "https://host/",
        "/v1/../x",
        "/v1/./x",
        "/v1?x",
        "/v1#x",
        "/\0",
        "/\\x",
    ],
)
def test_hostile_paths(play: Play, path: str) -> None:
    with pytest.raises(InvalidArgumentError):
        play(request(path=path))
    assert play.steps == []


def test_unknown_methods(play: Play) -> None:
    with pytest.raises(InvalidArgumentError, match="GET"):
        play(request("BREW"))


def test_errors_of_health(play: Play) -> None:
    with pytest.raises(UnexpectedResponseError):
        play(meta.health(), answer(b"OK"))
    assert play(meta.health(), answer({"status": "ok", "version": "1"})).status == "ok"
    assert problem("x", 500).status == 500
