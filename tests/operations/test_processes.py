"""Operations on processes and terminals, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandlot._flow import Flow, Request, Server
from sandlot._operations import processes, terminals
from sandlot._operations.commands import command
from sandlot.errors import ConflictError, InvalidArgumentError, NotFoundError, UnsupportedError
from sandlot.models import Capabilities
from tests.operations.conftest import ID, Play, answer, problem

WHERE = f"/v1/sandboxes/{ID}"
WRONG_TAGS = ["", "1", "42", ".a", "-a", "a b", "a/b", "é", "a" * 65, "a\n", "..", "a\0", 7.5]
FEATURES = ["processes", "terminals"]


def server(*features: str) -> Server:
    fields = {
        "server": "sandlot",
        "version": "1",
        "features": features,
        "isolation": {"level": "full", "engine": "local"},
        "limits": {},
    }
    return Server(Capabilities.model_validate(fields), True)


OURS, OLDER, ORIGINAL = server(*FEATURES), server(), Server(None, True)

FLOWS: list[Callable[[Server], Flow[Any]]] = [
    lambda it: processes.spawn(it, ID, command(["a"], None), None),
    lambda it: processes.list_all(it, ID, ended=False),
    lambda it: processes.get(it, ID, "t"),
    lambda it: processes.signal(it, ID, "t", "SIGTERM"),
    lambda it: terminals.open_terminal(it, ID),
]


def told(pid: int, tag: str | None, **fields: Any) -> dict[str, Any]:
    return {"pid": pid, "tag": tag, "cmd": "a", "args": [], "kind": "background", **fields}


def test_a_process_is_started(play: Play) -> None:
    wanted = command("echo $A", None, cwd="/a", env={"A": "b"}, user="u")
    reply = answer({"sandbox_id": ID, "cmd": "/bin/sh", "pid": 7, "tag": "t"}, 202)
    info = play(processes.spawn(OURS, ID, wanted, "t"), reply)
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", f"{WHERE}/exec")
    assert request.body == {
        "cmd": "/bin/sh",
        "args": ["-c", "echo $A"],
        "cwd": "/a",
        "env": {"A": "b"},
        "user": "u",
        "background": True,
        "tag": "t",
    }
    assert not request.is_idempotent  # it would run twice
    assert (info.pid, info.tag, info.kind) == (7, "t", "background")
    assert (info.cmd, info.args) == ("/bin/sh", ["-c", "echo $A"])


def test_a_name_that_is_taken(play: Play) -> None:
    with pytest.raises(ConflictError) as caught:
        play(processes.spawn(OURS, ID, command(["a"], None), "t"), problem("conflict", 409))
    assert caught.value.outcome == "not_started"


@pytest.mark.parametrize("which", [OLDER, ORIGINAL])
@pytest.mark.parametrize(
    "flow",
    FLOWS,
    ids=["spawn", "list", "get", "signal", "terminal"],
)
def test_servers_without_them_are_sent_nothing(play: Play, flow: Any, which: Server) -> None:
    with pytest.raises(UnsupportedError, match="Nothing was sent"):
        play(flow(which))
    assert play.sent == []


@pytest.mark.parametrize(("ended", "params"), [(False, {}), (True, {"all": "true"})])
def test_lists(play: Play, ended: bool, params: dict[str, str]) -> None:
    found = play(processes.list_all(OURS, ID, ended=ended), answer({"processes": [told(7, "t")]}))
    assert [each.tag for each in found] == ["t"]
    assert play.steps == [Request("GET", f"{WHERE}/processes", params=params)]


@pytest.mark.parametrize(("which", "pid"), [("t", 7), (8, 8), ("8a", 9)])
def test_one_is_found_by_either_name(play: Play, which: Any, pid: int) -> None:
    every = [told(7, "t"), told(8, None), told(9, "8a")]
    assert play(processes.get(OURS, ID, which), answer({"processes": every})).pid == pid


def test_none_is_found(play: Play) -> None:
    with pytest.raises(NotFoundError, match="no process t"):
        play(processes.get(OURS, ID, "t"), answer({"processes": [told(7, "u")]}))


@pytest.mark.parametrize(
    ("which", "name", "selector", "signal"),
    [("t", "term", "t", "SIGTERM"), (7, 9, "7", "SIGKILL"), ("a.b", "SIGINT", "a.b", "SIGINT")],
)
def test_signals(play: Play, which: Any, name: Any, selector: str, signal: str) -> None:
    play(processes.signal(OURS, ID, which, name), answer(b"", 204))
    (request,) = play.sent
    assert (request.method, request.path) == ("DELETE", f"{WHERE}/processes/{selector}")
    assert request.params == {"signal": signal}


@pytest.mark.parametrize("wrong", [*WRONG_TAGS, 0, -1, True, None])
def test_what_is_no_name_is_refused(play: Play, wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        play(processes.get(OURS, ID, wrong), answer({"processes": []}))
    with pytest.raises(InvalidArgumentError):
        play(processes.signal(OURS, ID, wrong, "SIGTERM"))
    with pytest.raises(InvalidArgumentError):
        _ = terminals.existing(wrong)


@pytest.mark.parametrize("wrong", WRONG_TAGS)
def test_names_that_cannot_be_given(play: Play, wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        play(processes.spawn(OURS, ID, command(["a"], None), wrong))
    with pytest.raises(InvalidArgumentError):
        _ = terminals.new(None, None, 80, 24, cwd=None, env=None, wanted_tag=wrong)
    assert play.sent == []


@pytest.mark.parametrize(
    ("offsets", "query"),
    [(None, ""), ((0, 0), "?stdout=0&stderr=0"), ((5, 9), "?stdout=5&stderr=9")],
)
def test_where_a_process_is_followed(play: Play, offsets: Any, query: str) -> None:
    with pytest.raises(NotFoundError):
        play(processes.open_stream(ID, "t", offsets), problem("not_found", 404))
    assert play.sent[0].path == f"{WHERE}/processes/t/stream{query}"


def test_terminals() -> None:
    def new(cmd: Any, args: Any = None) -> Any:
        return terminals.new(cmd, args, 80, 24, cwd=None, env=None, wanted_tag=None)

    assert new(None).argv == ()
    assert list(new("ls -l").argv) == ["/bin/sh", "-c", "ls -l"]
    assert list(new("ls", ["-l"]).argv) == ["ls", "-l"]
    assert new(None).size == (80, 24)
    assert terminals.existing("t").size is None
    with pytest.raises(InvalidArgumentError, match="args without a cmd"):
        new(None, [])


@pytest.mark.parametrize("wrong", [0, -1, 65536, 1.5, "80", True, None])
def test_sizes_that_make_no_sense(wrong: Any) -> None:
    for size in ((wrong, 24), (80, wrong)):
        with pytest.raises(InvalidArgumentError):
            _ = terminals.size(*size)
    assert terminals.size(1, 65535) == (1, 65535)


def test_where_a_terminal_is(play: Play) -> None:
    with pytest.raises(NotFoundError):
        play(terminals.open_terminal(OURS, ID), problem("not_found", 404))
    assert play.sent[0].path == f"{WHERE}/pty"
