"""Operations on kernels, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Pause, Port, Request, Server
from sandlot._operations import kernels
from sandlot.errors import (
    AgentError,
    AuthenticationError,
    ConflictError,
    ContextNotFoundError,
    InvalidArgumentError,
    NotFoundError,
    SandboxTimeoutError,
    TransportError,
    UnexpectedResponseError,
    UnsupportedError,
)
from sandlot.models import Capabilities
from tests.operations.conftest import ID, Play, answer, problem

KERNEL = "a34c8363-7d9e-4814-8e35-76c6fc282928"
MADE = {"id": KERNEL, "name": "python3", "execution_state": "starting", "connections": 0}
SPECS = {
    "default": "python3",
    "kernelspecs": {
        "python3": {"name": "python3", "spec": {"language": "python"}},
        "python-old": {"name": "python-old", "spec": {"language": "python"}},
        "bash": {"name": "bash", "spec": {"language": "bash"}},
        "broken": {"name": "broken"},
    },
}
EXECUTED = {
    "sandbox_id": ID,
    "cmd": "/bin/sh",
    "stdout": "",
    "stderr": "",
    "exit_code": 0,
    "duration_ms": 1,
    "encoding": "utf-8",
}
SILENT = problem("port_closed", 502)
READY = answer({"kernels": 0})


def ours() -> Server:
    body = {
        "server": "sandlot",
        "version": "1",
        "features": [],
        "isolation": {"level": "full", "engine": "local"},
        "limits": {},
    }
    return Server(Capabilities.model_validate(body), asked=True)


def start(language: str = "python", server: Server | None = None) -> Any:
    return kernels.start(server or ours(), ID, "base-python", language)


def refused(status: int, message: str = "no") -> Any:
    return answer({"message": message, "reason": None}, status)


def test_python_starts_without_a_look_at_what_there_is(play: Play) -> None:
    kernel = play(start(), answer(MADE, 201))
    assert (kernel.id, kernel.spec, kernel.language) == (KERNEL, "python3", "python")
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", "/api/kernels")
    assert request.body == {"name": "python3"}
    assert request.port == Port(ID, 8888)


@pytest.mark.parametrize(
    ("language", "name"),
    [("bash", "bash"), ("Bash", "bash"), ("python-old", "python-old")],
)
def test_other_languages_are_looked_up(play: Play, language: str, name: str) -> None:
    made = {**MADE, "name": name}
    kernel = play(start(language), answer(SPECS), answer(made, 201))
    assert play.sent[-1].body == {"name": name}
    assert kernel.language == name.partition("-")[0]


def test_a_python_by_another_name(play: Play) -> None:
    specs = {"default": "conda", "kernelspecs": {"conda": {"spec": {"language": "python"}}}}
    kernel = play(start(), refused(500), answer(specs), answer({**MADE, "name": "conda"}, 201))
    assert (kernel.spec, kernel.language) == ("conda", "python")


def test_an_unknown_language(play: Play) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'cobol'; there is bash, python"):
        play(start("cobol"), answer(SPECS))


def test_a_kernel_that_does_not_start(play: Play) -> None:
    with pytest.raises(UnexpectedResponseError, match="500: no memory"):
        play(start("bash"), answer(SPECS), refused(500, "no memory"))


def test_jupyter_is_started_where_it_does_not_run(play: Play) -> None:
    replies = [SILENT, answer(EXECUTED), SILENT, None, READY, answer(MADE, 201)]
    kernel = play(start(), *replies)
    assert kernel.id == KERNEL
    order = [request.path for request in play.sent]
    assert order == [
        "/api/kernels",
        f"/v1/sandboxes/{ID}/exec",
        "/api/status",
        "/api/status",
        "/api/kernels",
    ]
    assert "jupyter_server" in play.sent[1].body["args"][1]
    assert [type(step) for step in play.steps].count(Pause) == 1


def test_an_original_server_is_given_time_to_notice(play: Play) -> None:
    replies = [answer(b"proxy error: connection refused", 502), answer(b"no", 404)]
    kernel = play(
        start(server=Server()), *replies, answer(b"proxy error", 502), None, READY, answer(MADE)
    )
    assert kernel.id == KERNEL
    assert not any(request.path.endswith("/exec") for request in play.sent)


def test_a_template_without_jupyter(play: Play) -> None:
    lacking = answer({**EXECUTED, "exit_code": 3})
    with pytest.raises(UnsupportedError, match=r"template 'base-python' lacks.*'python-jupyter'"):
        play(start(), SILENT, lacking)


def test_jupyter_never_comes() -> None:
    with pytest.raises(SandboxTimeoutError, match="no code was run") as caught:
        perform_in_vain(start(), [SILENT, answer(EXECUTED)])
    assert caught.value.outcome == "not_started"


def perform_in_vain(flow: Any, replies: list[Any]) -> None:
    """Answer as told, and then never again."""
    clock = 0.0
    step = next(flow)
    while clock < 1000:
        if isinstance(step, Request):
            reply = replies.pop(0) if replies else SILENT
        elif isinstance(step, Pause):
            clock += 10
            reply = None
        else:
            reply = clock
        step = flow.send(reply)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem("unauthorized", 401), AuthenticationError),
        (problem("not_found", 404), NotFoundError),
        (problem("invalid_state", 409), ConflictError),
        (problem("bad_gateway", 502, x_sandlot_proxy="bad_gateway"), AgentError),
        (answer(b"<html>", 200), UnexpectedResponseError),
        (answer([]), UnexpectedResponseError),
        (answer({"id": "../..", "name": "python3"}), UnexpectedResponseError),
        (answer({"id": KERNEL}), UnexpectedResponseError),
        (answer(b"[" * 100_000), UnexpectedResponseError),
        (TransportError("lost", outcome="unknown"), TransportError),
    ],
)
def test_other_answers(play: Play, reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        play(start(), reply)


def test_listing(play: Play) -> None:
    found = [MADE, {**MADE, "id": "other", "name": "bash", "execution_state": "idle"}]
    listed = play(kernels.listing(ours(), ID, "x"), answer(found), answer(SPECS))
    assert [(kernel.language, kernel.state) for kernel in listed] == [
        ("python", "starting"),
        ("bash", "idle"),
    ]
    with pytest.raises(UnexpectedResponseError):
        play(kernels.listing(ours(), ID, "x"), answer({}))


def test_languages(play: Play) -> None:
    assert play(kernels.languages(ours(), ID, "x"), answer(SPECS)) == ["bash", "python"]
    assert play(kernels.languages(ours(), ID, "x"), answer({"kernelspecs": 3})) == []


def test_looking_up(play: Play) -> None:
    flow = kernels.look_up(ours(), ID, "x", KERNEL)
    assert play(flow, answer([MADE]), answer(SPECS)).state == "starting"
    with pytest.raises(ContextNotFoundError, match="nope"):
        play(kernels.look_up(ours(), ID, "x", "nope"), answer([MADE]), answer(SPECS))


@pytest.mark.parametrize(
    ("order", "method", "path"),
    [
        (kernels.interrupt, "POST", f"/api/kernels/{KERNEL}/interrupt"),
        (kernels.restart, "POST", f"/api/kernels/{KERNEL}/restart"),
        (kernels.shut_down, "DELETE", f"/api/kernels/{KERNEL}"),
    ],
)
def test_orders(play: Play, order: Any, method: str, path: str) -> None:
    play(order(ID, KERNEL), answer(b"", 204))
    (request,) = play.sent
    assert (request.method, request.path, request.port) == (method, path, Port(ID, 8888))
    with pytest.raises(UnexpectedResponseError, match="500"):
        play(order(ID, KERNEL), refused(500))


@pytest.mark.parametrize("gone", [refused(404), SILENT])
def test_orders_to_what_is_gone(play: Play, gone: Any) -> None:
    for order in (kernels.interrupt, kernels.restart):
        with pytest.raises(ContextNotFoundError):
            play(order(ID, KERNEL), gone)
    play(kernels.shut_down(ID, KERNEL), gone)


def test_channels(play: Play) -> None:
    play(kernels.open_channels(ID, KERNEL, "s", received=3), answer(b"", 101))
    (request,) = play.sent
    assert request.path == f"/api/kernels/{KERNEL}/channels?session_id=s&after=3"
    assert request.stream
    for reply, error in (
        (refused(404), ContextNotFoundError),
        (answer(b"<!DOCTYPE HTML>", 404, content_type="text/html"), ContextNotFoundError),
        (SILENT, ContextNotFoundError),
        (refused(500), UnexpectedResponseError),
        (answer(b"", 200), UnexpectedResponseError),
        (problem("invalid_state", 409), ConflictError),
    ):
        with pytest.raises(error):
            play(kernels.open_channels(ID, KERNEL, "s", received=3), reply)
