"""Operations that end many sandboxes, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot._flow import Request, Server
from sandlot._operations import reaping
from sandlot.errors import InvalidArgumentError, SandlotError, UnsupportedError
from tests.operations.conftest import ID, INFO, Play, answer, problem

ROOT = "/v1/sandboxes"
OTHER = ID[:-1] + "2"
CAPABILITIES = {
    "server": "sandlot",
    "version": "1",
    "features": ["sandboxes.stop"],
    "isolation": {"level": "full", "engine": "local"},
    "limits": {},
}
DATE = "Thu, 01 Jan 2026 01:00:00 GMT"  # an hour after those of INFO were made


def reap(**filters: Any) -> Any:
    fields = dict.fromkeys(["metadata", "name", "older_than", "inactive_for", "status"])
    dry_run: bool = filters.pop("dry_run", False)
    return reaping.reap(Server(), **{**fields, **filters}, dry_run=dry_run)


def listed(*changes: dict[str, Any]) -> Any:
    return answer([{**INFO, **each} for each in changes], date=DATE)


def report(*stopped: str, **failed: str) -> Any:
    failures = [{"id": OTHER, "code": code, "message": why} for code, why in failed.items()]
    return answer({"stopped": stopped, "failed": failures})


def test_many_are_stopped_in_one_request(play: Play) -> None:
    flow = reaping.stop_many(Server(), iter([ID, OTHER]), save_state=True)
    found = play(flow, answer(CAPABILITIES), report(ID, agent_error="why"))
    assert found.stopped == [ID]
    assert [(each.id, each.code) for each in found.failed] == [(OTHER, "agent_error")]
    assert play.sent[-1].body == {"sandbox_ids": [ID, OTHER], "save_state": True}
    assert play.sent[-1].path == f"{ROOT}/stop"


def test_very_many_are_stopped_in_several(play: Play) -> None:
    ids = [f"cl-{number:025}" for number in range(1100)]
    replies = [answer(CAPABILITIES), *(report(*ids[at : at + 500]) for at in (0, 500, 1000))]
    assert play(reaping.stop_many(Server(), ids), *replies).stopped == ids


def test_nothing_is_asked_about_none(play: Play) -> None:
    assert play(reaping.stop_many(Server(), [])).stopped == []


@pytest.mark.parametrize("ids", [ID, [ID, "../x"], [None]])
def test_what_are_no_ids_is_refused(play: Play, ids: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        play(reaping.stop_many(Server(), ids))
    assert play.steps == []


def test_servers_that_stop_one_at_a_time_are_asked_for_one_at_a_time(play: Play) -> None:
    found = play(
        reaping.stop_many(Server(), [ID, OTHER]),
        problem("not_found", 404),
        answer(b"", 204),
        problem("agent_error", 502, "why"),
    )
    assert [request.method for request in play.sent] == ["GET", "DELETE", "DELETE"]
    assert found.stopped == [ID]
    assert (found.failed[0].id, found.failed[0].code) == (OTHER, "agent_error")


def test_reap_needs_a_filter(play: Play) -> None:
    for filters in ({}, {"metadata": {}}, {"dry_run": True}):
        with pytest.raises(InvalidArgumentError, match="filter"):
            play(reap(**filters))
    assert play.steps == []


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ({"older_than": 3600}, True),
        ({"older_than": 3601}, False),
        ({"inactive_for": 60}, True),
        ({"inactive_for": 61}, False),
        ({"inactive_for": 60, "older_than": 3601}, False),
        ({"status": "running"}, True),
        ({"status": "paused"}, False),
    ],
)
def test_reap_filters_by_the_servers_time(play: Play, filters: dict[str, Any], fits: bool) -> None:
    active = {"last_active_at": "2026-01-01T00:59:00Z"}
    found = play(reap(**filters, dry_run=True), listed(active))
    assert [info.id for info in found] == [ID] * fits
    assert [request.method for request in play.sent] == ["GET"]


def test_reap_has_the_server_filter_what_it_can(play: Play) -> None:
    found = play(
        reap(metadata={"a": "b"}, name="n", status="paused"),
        answer(CAPABILITIES),
        listed({"status": "paused"}),
        report(ID),
    )
    assert [info.id for info in found] == [ID]
    params = {"metadata.a": "b", "name": "n", "status": "paused"}
    assert play.sent[1] == Request("GET", ROOT, params=params)


def test_reap_never_takes_a_server_that_ignores_filters_for_one_that_found_all(play: Play) -> None:
    with pytest.raises(UnsupportedError):
        play(reap(metadata={"a": "b"}), problem("not_found", 404))


def test_reap_says_what_it_could_not_destroy(play: Play) -> None:
    both = listed({}, {"id": OTHER})
    flow = reap(older_than=1)
    with pytest.raises(SandlotError, match=f"1 of 2 .* {OTHER}: why") as caught:
        play(flow, both, answer(CAPABILITIES), report(ID, agent_error="why"))
    assert caught.value.outcome == "unknown"
    found = play(reap(older_than=1), both, answer(CAPABILITIES), report(ID, not_found="gone"))
    assert [info.id for info in found] == [ID]
