"""Where sandboxes are, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Flow, Port, Request, Response, Server, Upload, send
from sandlot._revisions import located
from sandlot.errors import APIError, NotFoundError, TransportError
from tests.operations.conftest import Play, answer, problem

HERE, THERE = Request("GET", "/v1/sandboxes/x"), Request("GET", "/v1/capsules/x")
UNKNOWN = answer(b"404 page not found\n", 404)
FOUND = answer({})


def ask(server: Server, request: Request = HERE) -> Flow[Response]:
    return located(send(request), server)


def test_a_server_that_has_sandboxes_is_asked_for_nothing_else(play: Play) -> None:
    server = Server()
    assert play(ask(server), FOUND) is FOUND
    with pytest.raises(NotFoundError):
        play(ask(server), UNKNOWN)
    assert play.steps == [HERE, HERE]


def test_a_server_that_has_capsules_is_found_out_once(play: Play) -> None:
    server = Server()
    assert play(ask(server), UNKNOWN, FOUND) is FOUND
    assert play(ask(server), FOUND) is FOUND
    assert play.steps == [HERE, THERE, THERE]


@pytest.mark.parametrize("failure", [problem("not_found", 404), problem("unauthorized", 401)])
def test_errors_of_the_server_itself_tell_too(play: Play, failure: Response) -> None:
    for server, steps in ((Server(), [failure]), (Server(), [UNKNOWN, failure])):
        with pytest.raises(APIError):
            play(ask(server), *steps)
        assert server.says_capsules is (len(steps) == 2)


def test_a_server_that_has_neither_is_not_remembered(play: Play) -> None:
    server = Server()
    with pytest.raises(NotFoundError, match="first"):
        play(ask(server), answer(b"first", 404), UNKNOWN)
    assert server.says_capsules is None


@pytest.mark.parametrize(
    "failure",
    [answer(b"<html></html>", 502), answer(b"<html></html>", 401), TransportError("lost")],
)
def test_what_may_not_be_the_server_tells_nothing(play: Play, failure: Any) -> None:
    server = Server()
    with pytest.raises((APIError, TransportError)):
        play(ask(server), failure)
    assert server.says_capsules is None


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/v1/snapshots"),
        Request("GET", "/v1/sandboxes", port=Port("x", 8888)),
        Request("POST", "/v1/sandboxes/x/files/stream/write", upload=Upload("a", iter([b"x"]))),
    ],
)
def test_what_is_asked_once_only(play: Play, request_: Request) -> None:
    with pytest.raises(NotFoundError):
        play(ask(Server(), request_), UNKNOWN)
    assert play.steps == [request_]
