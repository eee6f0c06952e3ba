"""Operations on hosts and of administrators, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Server
from sandlot._operations import admin, hosts
from sandlot.errors import HostHasSandboxesError, InvalidArgumentError, InvalidRequestError
from sandlot.models import Capabilities
from tests.operations.conftest import ID, Play, answer, problem

HOST_ID = "host-0000000000000000000000001"
HOST = {
    "id": HOST_ID,
    "type": "regular",
    "status": "pending",
    "created_by": "usr-0000000000000000000000001",
    "created_at": "2026-11-01T09:30:00Z",
    "updated_at": "2026-11-01T09:30:00+06:00",
}
INVITATION = {"host": HOST, "registration_token": "hush" * 16}
OURS = Server(
    Capabilities.model_validate(
        {
            "server": "sandlot",
            "version": "1",
            "features": [],
            "isolation": {"level": "full", "engine": "local"},
            "limits": {},
        }
    ),
    True,
)
TEAM = "team-0000000000000000000000001"
WHERE = f"/v1/hosts/{HOST_ID}"
PREVIEW = {"host": HOST, "sandbox_ids": [ID]}
TEMPLATE = {
    "name": "t",
    "type": "base",
    "vcpus": 1,
    "memory_mb": 512,
    "size_bytes": 0,
    "team_id": TEAM,
    "created_at": "2026-11-01T09:30:00Z",
}


def test_a_host_is_made(play: Play) -> None:
    made = play(hosts.create(OURS, "byoc", TEAM, "us", None), answer(INVITATION, 201))
    assert made.registration_token == "hush" * 16
    assert "hush" not in repr(made)
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", "/v1/hosts")
    assert request.body == {"type": "byoc", "team_id": TEAM, "provider": "us"}
    assert request.is_idempotent


def test_original_servers_are_asked_for_a_host_once(play: Play) -> None:
    play(hosts.create(Server(None, True), "regular", None, None, None), answer(INVITATION, 201))
    assert not play.sent[0].is_idempotent


@pytest.mark.parametrize(
    ("flow", "reply", "method", "path"),
    [
        (lambda: hosts.list_all(), answer([HOST]), "GET", "/v1/hosts"),
        (lambda: hosts.get(HOST_ID), answer(HOST), "GET", WHERE),
        (lambda: hosts.delete(HOST_ID, force=False), answer(b"", 204), "DELETE", WHERE),
        (lambda: hosts.delete_preview(HOST_ID), answer(PREVIEW), "GET", f"{WHERE}/delete-preview"),
        (lambda: hosts.regenerate_token(HOST_ID), answer(INVITATION), "POST", f"{WHERE}/token"),
        (
            lambda: hosts.remove_tag(HOST_ID, "a b?"),
            answer(b"", 204),
            "DELETE",
            f"{WHERE}/tags/a%20b%3F",
        ),
        (lambda: admin.list_templates(), answer([TEMPLATE]), "GET", "/v1/admin/templates"),
        (lambda: admin.delete_template("t"), answer(b"", 204), "DELETE", "/v1/admin/templates/t"),
    ],
)
def test_paths(play: Play, flow: Any, reply: Any, method: str, path: str) -> None:
    play(flow(), reply)
    (request,) = play.sent
    assert (request.method, request.path, request.params) == (method, path, {})


def test_force_is_said_in_the_words_of_the_original(play: Play) -> None:
    play(hosts.delete(HOST_ID, force=True), answer(b"", 204))
    assert play.sent[0].params == {"force": "true"}


def test_bodies(play: Play) -> None:
    play(hosts.add_tag(HOST_ID, "gpu"), answer(b"", 204))
    play(admin.set_team_byoc(TEAM, True), answer(b"", 204))
    first, second = play.sent
    assert (first.method, first.path, first.body) == ("POST", f"{WHERE}/tags", {"tag": "gpu"})
    assert first.is_idempotent
    assert (second.method, second.body) == ("PUT", {"enabled": True})
    assert second.path == f"/v1/admin/teams/{TEAM}/byoc"


@pytest.mark.parametrize(("body", "tags"), [(["a", "b"], ["a", "b"]), ([], []), (None, [])])
def test_no_tags_are_no_tags(play: Play, body: Any, tags: list[str]) -> None:
    """Original servers say null."""
    assert play(hosts.list_tags(HOST_ID), answer(body)) == tags


@pytest.mark.parametrize("code", ["has_active_sandboxes", "host_has_sandboxes"])
@pytest.mark.parametrize("inside", [True, False])
def test_sandboxes_in_the_way_are_named(play: Play, code: str, inside: bool) -> None:
    detail: dict[str, Any] = {"code": code, "message": "no"}
    body: dict[str, Any] = {"error": detail}
    (detail if inside else body)["sandbox_ids"] = [ID]
    with pytest.raises(HostHasSandboxesError) as caught:
        play(hosts.delete(HOST_ID, force=False), answer(body, 409))
    assert caught.value.sandbox_ids == (ID,)


def test_original_servers_refuse_another_token_with_400(play: Play) -> None:
    with pytest.raises(InvalidRequestError):
        play(hosts.regenerate_token(HOST_ID), problem("invalid_request", 400))


@pytest.mark.parametrize(
    "flow",
    [
        lambda: hosts.create(OURS, "", None, None, None),
        lambda: hosts.create(OURS, "byoc", 5, None, None),  # type: ignore[arg-type]
        lambda: hosts.create(OURS, "regular", None, "", None),
        lambda: hosts.get("a/b"),
        lambda: hosts.get(""),
        lambda: hosts.get(None),  # type: ignore[arg-type]
        lambda: hosts.delete("..", force=True),
        lambda: hosts.add_tag(HOST_ID, ""),
        lambda: hosts.add_tag(HOST_ID, 5),  # type: ignore[arg-type]
        lambda: hosts.remove_tag(HOST_ID, ".."),
        lambda: admin.set_team_byoc("a/b", True),
        lambda: admin.set_team_byoc(TEAM, "yes"),
        lambda: admin.delete_template(".."),
        lambda: admin.delete_template(""),
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(play: Play, flow: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        play(flow())
    assert play.sent == []
