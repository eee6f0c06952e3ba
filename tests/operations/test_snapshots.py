"""Operations on snapshots, forks and checkpoints, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Response, Server
from sandlot._operations import snapshots
from sandlot.errors import (
    ConflictError,
    ConnectError,
    InvalidArgumentError,
    NotFoundError,
    SandboxDestroyedError,
    TransportError,
    UnsupportedError,
)
from sandlot.models import Capabilities, Checkpoint
from tests.operations.conftest import ID, INFO, Play, answer, info, problem

OTHER = "cl-1111111111111111111111111"
BOTH = [INFO, {**INFO, "id": OTHER}]
POINT = "cp-0000000000000000000000001"
CHECKPOINT = {
    "id": POINT,
    "sandbox_id": ID,
    "size_bytes": 5,
    "created_at": "2026-11-01T09:30:00Z",
}
TEMPLATE = {
    "name": "ready",
    "type": "snapshot",
    "size_bytes": 5,
    "created_at": "2026-11-01T09:30:00Z",
}


@pytest.fixture
def server() -> Server:
    """A server that is known to be ours."""
    capabilities = {
        "server": "sandlot",
        "version": "1",
        "features": ["snapshots"],
        "isolation": {"level": "full", "engine": "local"},
        "limits": {},
    }
    return Server(Capabilities.model_validate(capabilities), asked=True)


@pytest.fixture
def original() -> Server:
    """A server that is known to be an original one."""
    return Server(None, asked=True)


def test_a_snapshot_is_asked_for_by_name(play: Play, server: Server) -> None:
    made = play(snapshots.create(server, ID, "ready", overwrite=True), answer(TEMPLATE, 201))
    assert made.name == "ready"
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", "/v1/snapshots")
    assert request.body == {"sandbox_id": ID, "name": "ready"}
    assert request.params == {"overwrite": "true"}


def test_the_server_may_choose_the_name(play: Play, server: Server) -> None:
    _ = play(snapshots.create(server, ID, None, overwrite=False), answer(TEMPLATE, 201))
    (request,) = play.sent
    assert request.body == {"sandbox_id": ID}
    assert request.params == {}


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "x" * 65, "a b", "ü", 5, "a\n"])
def test_bad_names_are_refused_before_anything_is_sent(
    play: Play, server: Server, name: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match="not the name of a snapshot"):
        play(snapshots.create(server, ID, name, overwrite=False))
    with pytest.raises(InvalidArgumentError):
        play(snapshots.delete(name))
    assert play.sent == []


def test_templates_are_listed_by_type(play: Play) -> None:
    found = play(snapshots.list_all("snapshot"), answer([TEMPLATE]))
    assert [each.name for each in found] == ["ready"]
    assert play.sent[0].params == {"type": "snapshot"}


def test_one_template_is_looked_up(play: Play, server: Server) -> None:
    assert play(snapshots.get(server, "ready"), answer(TEMPLATE)).name == "ready"
    assert play.sent[0].path == "/v1/snapshots/ready"


def test_original_servers_are_asked_for_the_list(play: Play, original: Server) -> None:
    assert play(snapshots.get(original, "ready"), answer([TEMPLATE])).name == "ready"
    assert play.sent[0].path == "/v1/snapshots"
    with pytest.raises(NotFoundError):
        play(snapshots.get(original, "other"), answer([TEMPLATE]))


def test_a_fork_carries_a_key(play: Play, server: Server) -> None:
    made = play(snapshots.fork(server, ID, 2), answer(BOTH, 201))
    assert [each.id for each in made] == [ID, OTHER]
    (request,) = play.sent
    assert request.path == f"/v1/sandboxes/{ID}/fork"
    assert request.body == {"count": 2}
    assert request.is_idempotent


@pytest.mark.parametrize("count", [0, -1, 65, True, 1.0, "1", None])
def test_bad_counts_are_refused_before_anything_is_sent(
    play: Play, server: Server, count: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match="count"):
        play(snapshots.fork(server, ID, count))
    assert play.sent == []


def test_forks_without_an_answer_are_destroyed(play: Play, server: Server) -> None:
    lost = TransportError("cut off", outcome="unknown")
    with pytest.raises(TransportError) as caught:
        play(
            snapshots.fork(server, ID, 2),
            lost,
            answer(BOTH, 201),
            Response(204),
            Response(204),
        )
    assert caught.value.outcome == "not_started"
    assert [request.method for request in play.sent] == ["POST", "POST", "DELETE", "DELETE"]
    assert play.sent[0].headers == play.sent[1].headers


def test_forks_that_cannot_be_found_again_are_told_of(play: Play, server: Server) -> None:
    lost = TransportError("cut off", outcome="unknown")
    with pytest.raises(TransportError) as caught:
        play(snapshots.fork(server, ID, 1), lost, ConnectError("refused"))
    assert caught.value.outcome == "unknown"
    assert "sandboxes.list()" in "".join(caught.value.__notes__)


def test_forks_that_are_gone_when_the_answer_comes(play: Play, server: Server) -> None:
    """All or none: what is left of them is destroyed."""
    gone = {**BOTH[1], "status": "stopped", "status_reason": "The server ended."}
    with pytest.raises(SandboxDestroyedError, match=f"{OTHER}.*The server ended"):
        play(
            snapshots.fork(server, ID, 2),
            answer([BOTH[0], gone], 201),
            Response(204),
            Response(204),
        )
    assert [request.method for request in play.sent] == ["POST", "DELETE", "DELETE"]


def test_forks_that_were_refused_are_not_undone(play: Play, server: Server) -> None:
    with pytest.raises(ConflictError):
        play(snapshots.fork(server, ID, 1), problem("invalid_state", 409))
    assert len(play.sent) == 1


def test_checkpoints(play: Play, server: Server) -> None:
    point = play(snapshots.checkpoint(server, ID, "before"), answer(CHECKPOINT, 201))
    assert play.sent[-1].body == {"name": "before"}
    found = play(snapshots.checkpoints(server, ID), answer([CHECKPOINT]))
    assert found == [point]
    _ = play(snapshots.rollback(server, ID, point), info())
    assert play.sent[-1].body == {"checkpoint_id": POINT}
    _ = play(snapshots.rollback(server, ID, POINT), info())
    assert play.sent[-1].body == {"checkpoint_id": POINT}
    play(snapshots.delete_checkpoint(server, ID, point), Response(204))
    assert play.sent[-1].path == f"/v1/sandboxes/{ID}/checkpoints/{POINT}"


def test_a_checkpoint_of_another_sandbox_is_refused(play: Play, server: Server) -> None:
    point = Checkpoint.model_validate(CHECKPOINT)
    with pytest.raises(InvalidArgumentError, match="of another sandbox"):
        play(snapshots.rollback(server, OTHER, point))
    for bad in ("", "../x", 5, None):
        with pytest.raises(InvalidArgumentError, match="not the id of a checkpoint"):
            play(snapshots.rollback(server, ID, bad))  # type: ignore[arg-type]
    assert play.sent == []


def test_changes(play: Play, server: Server) -> None:
    told = {"sandbox_id": ID, "changes": [{"path": "a", "kind": "added", "type": "file"}]}
    found = play(snapshots.changes(server, ID, POINT, diff=False), answer(told))
    assert [each.path for each in found.changes] == ["a"]
    assert play.sent[0].params == {"diff": "false", "since": POINT}
    _ = play(snapshots.changes(server, ID, None, diff=True), answer(told))
    assert play.sent[1].params == {"diff": "true"}


def test_original_servers_are_not_asked_for_what_they_lack(play: Play, original: Server) -> None:
    for flow in (
        snapshots.fork(original, ID, 1),
        snapshots.checkpoint(original, ID, None),
        snapshots.checkpoints(original, ID),
        snapshots.rollback(original, ID, POINT),
        snapshots.delete_checkpoint(original, ID, POINT),
        snapshots.changes(original, ID, None, diff=True),
    ):
        with pytest.raises(UnsupportedError, match="Nothing was sent"):
            play(flow)
    assert play.sent == []


def test_what_creates_may_be_sent_again_except_to_original_servers(
    play: Play, server: Server, original: Server
) -> None:
    _ = play(snapshots.checkpoint(server, ID, None), answer(CHECKPOINT, 201))
    _ = play(snapshots.create(server, ID, None, overwrite=False), answer(TEMPLATE, 201))
    assert all(request.is_idempotent for request in play.sent)
    _ = play(snapshots.create(original, ID, None, overwrite=False), answer(TEMPLATE, 201))
    assert not play.sent[-1].is_idempotent


def test_going_back_is_never_sent_twice(play: Play, server: Server) -> None:
    _ = play(snapshots.rollback(server, ID, POINT), info())
    assert not play.sent[0].is_idempotent
