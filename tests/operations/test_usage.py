"""What teams use, without I/O."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from sandlot._flow import Server
from sandlot._operations import usage
from sandlot.errors import InvalidArgumentError, UnsupportedError
from sandlot.models import Capabilities
from tests.operations.conftest import Play, answer

CAPABILITIES = {
    "server": "sandlot",
    "version": "1",
    "features": ["usage"],
    "isolation": {"level": "full", "engine": "local"},
    "limits": {},
}


def test_usage_is_asked_for_in_days(play: Play) -> None:
    server = Server(Capabilities.model_validate(CAPABILITIES), True)
    report = {"from": "2026-10-01", "to": "2026-10-31", "points": []}
    found = play(usage.get(server, date(2026, 10, 1), date(2026, 10, 31)), answer(report))
    assert (found.from_, found.to, found.points) == (date(2026, 10, 1), date(2026, 10, 31), [])
    assert found.to_dict() == report
    _ = play(usage.get(server, None, None), answer(report))
    paths = [(request.path, request.params) for request in play.sent]
    where = "/v1/sandboxes/usage"
    assert paths == [(where, {"from": "2026-10-01", "to": "2026-10-31"}), (where, {})]


@pytest.mark.parametrize("bad", [5, "2026-10-01", datetime(2026, 10, 1, tzinfo=UTC)])
def test_what_is_no_day_is_refused(play: Play, bad: Any) -> None:
    for flow in (
        usage.get(Server(), bad, None),
        usage.get(Server(), None, bad),
    ):
        with pytest.raises(InvalidArgumentError, match="must be a date"):
            play(flow)
    assert play.sent == []


def test_original_servers_are_not_asked_for_usage(play: Play) -> None:
    with pytest.raises(UnsupportedError, match="usage"):
        play(usage.get(Server(None, True), None, None))
    assert play.sent == []
