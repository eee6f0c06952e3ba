"""Operations that run commands, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Request, Server
from sandlot._operations import commands
from sandlot.errors import (
    AgentError,
    CommandFailedError,
    CommandTimeoutError,
    InvalidArgumentError,
    UnexpectedResponseError,
    UnsupportedError,
)
from tests.operations.conftest import ID, Play, answer, problem

EXEC = f"/v1/sandboxes/{ID}/exec"
SANDLOT = Server(asked=True)
ORIGINAL = Server(asked=True)


@pytest.fixture(autouse=True)
def known(play: Play) -> None:
    """Make one server known as ours."""
    from sandlot.models import Capabilities

    SANDLOT.capabilities = Capabilities.model_validate(
        {
            "server": "sandlot",
            "version": "1",
            "features": [],
            "isolation": {"level": "full", "engine": "local"},
            "limits": {},
        }
    )


def done(**changes: Any) -> Any:
    fields = {
        "sandbox_id": ID,
        "cmd": "/bin/sh",
        "stdout": "out",
        "stderr": "err",
        "exit_code": 0,
        "duration_ms": 5,
        "encoding": "utf-8",
    }
    return answer({**fields, **changes})


def execute(
    cmd: Any, args: Any = None, *, server: Server = ORIGINAL, check: bool = False, **options: Any
) -> Any:
    return commands.execute(server, ID, commands.command(cmd, args, **options), check=check)


@pytest.mark.parametrize(
    ("cmd", "args", "argv"),
    [
        ("echo $HOME", None, ["/bin/sh", "-c", "echo $HOME"]),
        ("ls", [], ["ls"]),
        ("ls", ["-l", "a b", ""], ["ls", "-l", "a b", ""]),
        (["ls", "-l"], None, ["ls", "-l"]),
        (("ls",), None, ["ls"]),
        ("é", None, ["/bin/sh", "-c", "é"]),
    ],
)
def test_what_is_run(play: Play, cmd: Any, args: Any, argv: list[str]) -> None:
    play(execute(cmd, args), done())
    body = {"cmd": argv[0], "args": argv[1:]}
    assert play.steps == [Request("POST", EXEC, body, timeout=45)]


@pytest.mark.parametrize(
    ("cmd", "args", "options"),
    [
        ("", None, {}),
        ("  \n", None, {}),
        ([], None, {}),
        ([""], None, {}),
        (["a"], ["b"], {}),
        (None, None, {}),
        (7, None, {}),
        (b"ls", None, {}),
        ("ls", "-l", {}),
        ("ls", [1], {}),
        ("a\0b", None, {}),
        (["ls", "a\0"], None, {}),
        ("\ud800", None, {}),
        ("a", None, {"timeout_sec": float("nan")}),
        ("a", None, {"timeout_sec": float("inf")}),
        ("a", None, {"timeout_sec": -1}),
        ("a", None, {"timeout_sec": "3"}),
        ("a", None, {"timeout_sec": True}),
        ("a", None, {"cwd": "\0"}),
        ("a", None, {"cwd": ""}),
        ("a", None, {"cwd": b"/"}),
        ("a", None, {"env": {"A": None}}),
        ("a", None, {"env": {"A=": "b"}}),
        ("a", None, {"env": {"A": "\0"}}),
        ("a", None, {"env": "A=b"}),
        ("a", None, {"stdin": 3}),
        ("a", None, {"stdin": "\ud800"}),
        ("a", None, {"max_output_bytes": -1}),
        ("a", None, {"max_output_bytes": 1.0}),
        ("a", None, {"user": ""}),
    ],
)
def test_nonsense_is_refused(cmd: Any, args: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        commands.command(cmd, args, **options)


@pytest.mark.parametrize(
    ("timeout_sec", "sent", "waited"),
    [(0.5, 0.5, 15.5), (60, 60, 75), (60.0, 60, 75), (0, 0, 45), (None, None, 45)],
)
def test_the_client_waits_longer_than_the_server(
    play: Play, timeout_sec: float | None, sent: float | None, waited: float
) -> None:
    play(execute("a", server=SANDLOT, timeout_sec=timeout_sec), done())
    (request,) = play.sent
    assert request.timeout == waited
    assert request.body.get("timeout_sec") == sent
    # Original servers read nothing but whole numbers.
    assert type(request.body.get("timeout_sec")) is type(sent)


def test_original_servers_are_sent_whole_seconds(play: Play) -> None:
    play(execute("a", timeout_sec=1.5), done())
    assert play.sent[0].body["timeout_sec"] == 2
    assert play.sent[0].timeout == 17


def test_a_command_is_never_safe_to_send_again(play: Play) -> None:
    play(execute("a"), done())
    assert not play.sent[0].is_idempotent


def test_everything_is_sent_to_a_server_that_knows_it(play: Play) -> None:
    flow = execute(
        ["a"],
        server=SANDLOT,
        cwd="/tmp",
        env={"A": "b"},
        user="user",
        stdin="in",
        max_output_bytes=9,
    )
    play(flow, done())
    assert play.sent[0].body == {
        "cmd": "a",
        "args": [],
        "cwd": "/tmp",
        "env": {"A": "b"},
        "user": "user",
        "stdin": "in",
        "max_output_bytes": 9,
    }


def test_stdin_that_is_no_text_is_base64(play: Play) -> None:
    play(execute("a", server=SANDLOT, stdin=b"\xff"), done())
    assert play.sent[0].body["stdin"] == "/w=="
    assert play.sent[0].body["stdin_encoding"] == "base64"


def test_a_plain_command_does_not_ask_what_the_server_can_do(play: Play) -> None:
    play(execute("a", server=Server()), done())
    assert [request.path for request in play.sent] == [EXEC]


def test_directory_and_environment_are_folded_for_an_original_server(play: Play) -> None:
    flow = execute("echo $A", server=Server(), cwd="/a b", env={"A": "x y"})
    play(flow, problem("not_found", 404), done())
    assert play.sent[1].body == {
        "cmd": "/bin/sh",
        "args": [
            "-c",
            'cd -- "$0" && exec "$@"',
            "/a b",
            "env",
            "A=x y",
            "/bin/sh",
            "-c",
            "echo $A",
        ],
    }


@pytest.mark.parametrize("options", [{"user": "u"}, {"stdin": ""}, {"max_output_bytes": 1}])
def test_what_cannot_be_folded_is_refused(play: Play, options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        play(execute("a", **options))
    assert play.steps == []


def test_the_result(play: Play) -> None:
    result = play(execute("a"), done())
    assert (result.stdout, result.stderr, result.exit_code) == ("out", "err", 0)
    assert (result.stdout_bytes, result.stderr_bytes) == (b"out", b"err")
    assert result.ok
    assert result.check() is result
    assert (result.timed_out, result.truncated, result.signal) == (False, False, None)


def test_base64_is_of_both_streams(play: Play) -> None:
    result = play(execute("a"), done(stdout="/w==", stderr="YQ==", encoding="base64"))
    assert result.stdout_bytes == b"\xff"
    assert result.stdout == "\ufffd"
    assert result.stderr == "a"


@pytest.mark.parametrize(
    "changes", [{"encoding": "base64"}, {"encoding": "latin-1"}, {"exit_code": "zero"}]
)
def test_a_malformed_result(play: Play, changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        play(execute("a"), done(**changes))
    assert caught.value.outcome == "finished"


def test_check(play: Play) -> None:
    with pytest.raises(CommandFailedError, match="exited 3: err") as caught:
        play(execute("a", check=True), done(exit_code=3))
    assert caught.value.result.exit_code == 3
    assert (caught.value.stdout, caught.value.stderr) == ("out", "err")
    assert caught.value.outcome == "finished"


def test_check_of_a_signal(play: Play) -> None:
    with pytest.raises(CommandFailedError, match="ended by SIGSEGV"):
        play(execute("a", check=True), done(exit_code=-1, signal="SIGSEGV"))


@pytest.mark.parametrize(
    ("limit", "text"), [("oom", r"ran out of memory \(memory_mb\)"), ("no_space", "disk_mb")]
)
def test_check_of_a_command_that_met_a_limit(play: Play, limit: str, text: str) -> None:
    answer = done(exit_code=-1, signal="SIGKILL", **{limit: True})
    with pytest.raises(CommandFailedError, match=f"SIGKILL when the sandbox .*{text}") as caught:
        play(execute("a", check=True), answer)
    result = caught.value.result
    assert (result.oom, result.no_space) == (limit == "oom", limit == "no_space")
    assert f"SIGKILL, {limit}, stdout" in repr(result)


def test_check_of_a_command_that_took_too_long(play: Play) -> None:
    with pytest.raises(CommandTimeoutError, match="timeout_sec") as caught:
        play(execute("a", check=True), done(exit_code=-1, signal="SIGKILL", timed_out=True))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.stdout == "out"


def test_a_deadline_of_an_original_server(play: Play) -> None:
    text = "internal: exec: context deadline exceeded"
    with pytest.raises(CommandTimeoutError, match="may still run") as caught:
        play(execute("a"), problem("agent_error", 502, text))
    assert caught.value.outcome == "unknown"


def test_another_agent_error_may_have_run(play: Play) -> None:
    with pytest.raises(AgentError, match="may have taken effect") as caught:
        play(execute("a"), problem("agent_error", 502, "guest is gone"))
    assert caught.value.outcome == "unknown"
    assert not caught.value.is_retryable


def test_a_stream_through_a_proxy_that_knows_no_websockets(play: Play) -> None:
    with pytest.raises(UnexpectedResponseError, match="200 instead of a WebSocket") as caught:
        play(commands.open_stream(ID), answer(b"<html></html>"))
    assert caught.value.outcome == "not_started"
