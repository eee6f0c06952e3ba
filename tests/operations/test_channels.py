"""Operations on channels, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandlot._flow import Flow, Server
from sandlot._operations import admin, builds, channels, sandboxes
from sandlot.errors import ConflictError, InvalidArgumentError, UnsupportedError
from sandlot.models import Capabilities
from tests.operations.conftest import Play, answer, problem

ID = "ch-0000000000000000000000001"
CHANNEL = {
    "id": ID,
    "team_id": "team-1",
    "name": "ops",
    "provider": "webhook",
    "events": ["capsule.created"],
    "created_at": "2026-11-01T09:30:00Z",
    "updated_at": "2026-11-01T09:30:00+06:00",
}
CONFIG = {"url": "https://example.com", "secret": "hush-hush-hush-hush"}
DELIVERY = {
    "id": "0e0f4a1c-3a52-4f3e-9d51-4b8a0f1f7a10",
    "channel_id": ID,
    "event": "capsule.created",
    "status": "delivered",
    "attempts": 1,
    "created_at": "2026-11-01T09:30:00Z",
}


def ours(*features: str) -> Server:
    capabilities = {
        "server": "sandlot",
        "version": "1",
        "features": list(features),
        "isolation": {"level": "full", "engine": "local"},
        "limits": {},
    }
    return Server(Capabilities.model_validate(capabilities), asked=True)


ORIGINAL = Server(None, asked=True)


def test_a_channel_is_made(play: Play) -> None:
    flow = channels.create(ours(), "ops", "webhook", CONFIG, ("capsule.created",))
    made = play(flow, answer({**CHANNEL, "secret": "hush"}, 201))
    assert made.secret == "hush"
    assert "hush" not in repr(made)
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", "/v1/channels")
    assert request.body == {
        "name": "ops",
        "provider": "webhook",
        "config": CONFIG,
        "events": ["capsule.created"],
    }
    assert request.is_idempotent


def test_original_servers_are_asked_once(play: Play) -> None:
    flow = channels.create(ORIGINAL, "ops", "webhook", CONFIG, ["capsule.created"])
    with pytest.raises(ConflictError):
        play(flow, problem("conflict", 409))
    assert not play.sent[0].is_idempotent


def test_channels_are_listed_looked_up_and_deleted(play: Play) -> None:
    assert [each.id for each in play(channels.list_all(), answer([CHANNEL]))] == [ID]
    assert play(channels.get(ID), answer(CHANNEL)).name == "ops"
    assert play(channels.delete(ID), answer(b"", 204)) is None
    sent = [(request.method, request.path) for request in play.sent]
    where = f"/v1/channels/{ID}"
    assert sent == [("GET", "/v1/channels"), ("GET", where), ("DELETE", where)]


def test_what_is_not_changed_is_asked_first(play: Play) -> None:
    _ = play(channels.update(ID, "new", None), answer(CHANNEL), answer(CHANNEL))
    assert [request.method for request in play.sent] == ["GET", "PATCH"]
    assert play.sent[1].body == {"name": "new", "events": ["capsule.created"]}
    assert play.sent[1].is_idempotent


def test_a_whole_change_is_sent_at_once(play: Play) -> None:
    _ = play(channels.update(ID, "new", ["host.up"]), answer(CHANNEL))
    (request,) = play.sent
    assert request.body == {"name": "new", "events": ["host.up"]}


def test_configurations_are_replaced_and_tested(play: Play) -> None:
    assert play(channels.rotate_config(ID, CONFIG), answer(CHANNEL)).secret is None
    assert play(channels.test("webhook", CONFIG), answer({"status": "ok"})) is None
    first, second = play.sent
    assert (first.method, first.path) == ("PUT", f"/v1/channels/{ID}/config")
    assert first.body == {"config": CONFIG}
    assert (second.method, second.path) == ("POST", "/v1/channels/test")
    assert second.body == {"provider": "webhook", "config": CONFIG}
    assert not second.is_idempotent


@pytest.mark.parametrize(
    "flow",
    [
        lambda: channels.deliveries(
            ours("channels.deliveries"), ID, status=None, limit=None, cursor=""
        ),
        lambda: sandboxes.list_page(ours(), None, None, None, None, None, ""),
        lambda: builds.list_page(limit=None, cursor=""),
        lambda: admin.teams(""),
    ],
    ids=["deliveries", "sandboxes", "builds", "teams"],
)
def test_an_empty_cursor_is_not_the_beginning(play: Play, flow: Callable[[], Flow[object]]) -> None:
    """It would be walked from there again, and for ever."""
    with pytest.raises(InvalidArgumentError, match="cursor"):
        play(flow())
    assert play.sent == []


def test_deliveries_come_in_pages(play: Play) -> None:
    server = ours("channels.deliveries")
    flow = channels.deliveries(server, ID, status="failed", limit=5, cursor="c")
    found, following = play(flow, answer([DELIVERY], x_next_cursor="next"))
    assert (found[0].id, following) == (DELIVERY["id"], "next")
    (request,) = play.sent
    assert request.path == f"/v1/channels/{ID}/deliveries"
    assert request.params == {"status": "failed", "limit": "5", "cursor": "c"}


def test_servers_without_a_log_are_not_asked_for_it(play: Play) -> None:
    for server in (ORIGINAL, ours()):
        with pytest.raises(UnsupportedError, match="Nothing was sent"):
            play(channels.deliveries(server, ID, status=None, limit=None, cursor=None))
    assert play.sent == []


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": 5},
        {"provider": ""},
        {"provider": None},
        {"config": {}},
        {"config": None},
        {"config": "url=hush-hush"},
        {"config": {"url": 5}},
        {"config": {"": "hush-hush"}},
        {"config": {"url": "hush-hush\0"}},
        {"events": []},
        {"events": "capsule.created"},
        {"events": [""]},
        {"events": [5]},
    ],
)
def test_bad_channels_are_refused_before_anything_is_sent(
    play: Play, changes: dict[str, Any]
) -> None:
    good: dict[str, Any] = {"name": "n", "provider": "webhook", "config": CONFIG, "events": ["e"]}
    with pytest.raises(InvalidArgumentError) as caught:
        play(channels.create(ours(), **{**good, **changes}))
    assert "hush" not in str(caught.value)
    assert play.sent == []


@pytest.mark.parametrize("channel_id", ["", "a/b", "..", "ü", None, 5, "x" * 200])
def test_bad_ids_are_refused_before_anything_is_sent(play: Play, channel_id: Any) -> None:
    for flow in (
        lambda: channels.get(channel_id),
        lambda: channels.delete(channel_id),
        lambda: channels.update(channel_id, "n", ["e"]),
        lambda: channels.rotate_config(channel_id, CONFIG),
    ):
        with pytest.raises(InvalidArgumentError, match="not the id of a channel"):
            play(flow())
    with pytest.raises(InvalidArgumentError, match="give a name"):
        play(channels.update(ID, None, None))
    assert play.sent == []
