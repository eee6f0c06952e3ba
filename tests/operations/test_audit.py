"""Walking through the audit log: ours, and that of original servers, whose cursors are cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from sandlot._flow import Flow, Request, Response, encode
from sandlot._operations import audit
from sandlot.errors import InvalidArgumentError

START = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)


@dataclass
class Log:
    """A server's audit log: `(time, id)`, newest first."""

    rows: list[tuple[datetime, str]]
    original: bool
    asked: int = 0

    def answer(self, request: Request) -> Response:
        self.asked += 1
        params = request.params
        rows = self.rows
        limit = int(params.get("limit", "50"))
        if "before" in params:
            before = (datetime.fromisoformat(params["before"]), params.get("before_id", ""))
            rows = [row for row in rows if row < before]
        page = rows[:limit]
        body: dict[str, Any] = {"items": [self._item(*row) for row in page]}
        if page and (self.original or len(rows) > limit):
            body["next_before"] = self._text(page[-1][0])
            body["next_before_id"] = page[-1][1]
        return Response(200, encode(body))

    def _text(self, time: datetime) -> str:
        if self.original:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ")
        return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _item(self, time: datetime, row_id: str) -> dict[str, str]:
        return {
            "id": row_id,
            "actor_type": "user",
            "resource_type": "sandbox",
            "action": "create",
            "scope": "team",
            "status": "success",
            "created_at": self._text(time),
        }


def perform(flow: Flow[audit.Fetched], log: Log) -> audit.Fetched:
    step = next(flow)
    try:
        while True:
            assert isinstance(step, Request)
            step = flow.send(log.answer(step))
    except StopIteration as end:
        result: audit.Fetched = end.value
        return result


def begin(**fields: Any) -> audit.Place:
    nothing = dict.fromkeys(("resource_type", "action", "before", "limit", "cursor"))
    return audit.place(**{**nothing, **fields})


def walk(log: Log, place: audit.Place) -> Iterator[str]:
    while True:
        items, following, place = perform(audit.page(place), log)
        yield from (item.id for item in items)
        if following is None:
            return


def rows(*seconds: float) -> list[tuple[datetime, str]]:
    made = [(START + timedelta(seconds=each), f"log-{n:05}") for n, each in enumerate(seconds)]
    return sorted(made, reverse=True)


RANDOM = Random(7)
LOGS = {
    "empty": rows(),
    "one": rows(0.5),
    "a page": rows(*(n * 0.9 for n in range(10))),
    "spread": rows(*(n * 0.9 for n in range(95))),
    "crowded": rows(*(n * 0.03 for n in range(200))),
    "one second": rows(*(n * 0.001 for n in range(300))),
    "bursts": rows(*(n // 45 + RANDOM.random() * 0.01 for n in range(300))),
    "whole seconds": rows(*(n // 3 for n in range(60))),
    "at borders": rows(*(x for n in range(40) for x in (n, n + 0.999999))),
}


# Rows of the very same microsecond that fill more than a page cannot be had from the original.
CASES = [
    (name, original, limit)
    for name in LOGS
    for original in (False, True)
    for limit in (1, 2, 10, 50)
    if not (original and name == "whole seconds" and limit < 3)
]


@pytest.mark.parametrize(("name", "original", "limit"), CASES)
def test_no_row_is_skipped_and_none_comes_twice(name: str, original: bool, limit: int) -> None:
    log = Log(LOGS[name], original)
    expected = [row_id for _, row_id in log.rows]
    assert list(walk(log, begin(limit=limit))) == expected
    if not original:
        assert log.asked == max(1, -(-len(expected) // limit))


@pytest.mark.parametrize("original", [False, True], ids=["ours", "original"])
def test_a_walk_can_be_taken_up_again(original: bool) -> None:
    log = Log(LOGS["crowded"], original)
    expected = [row_id for _, row_id in log.rows]
    items, cursor, _ = perform(audit.page(begin(limit=17)), log)
    rest = list(walk(log, begin(limit=17, cursor=cursor)))
    assert [item.id for item in items] + rest == expected


def test_a_row_that_is_gone_does_not_stop_the_walk() -> None:
    log = Log(LOGS["spread"], original=True)
    _, cursor, _ = perform(audit.page(begin(limit=10)), log)
    del log.rows[9]
    rest = list(walk(log, begin(limit=10, cursor=cursor)))
    assert rest[-1] == "log-00000"
    assert len(set(rest)) == len(rest)


def test_what_is_asked_for() -> None:
    place = begin(resource_type=["sandbox", "team"], action="create", before=START, limit=5)
    request = next(audit.page(place))
    assert request == Request(
        "GET",
        "/v1/audit-logs",
        params={
            "resource_type": "sandbox,team",
            "action": "create",
            "limit": "5",
            "before": "2026-11-01T09:30:00+00:00",
        },
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"limit": 201},
        {"limit": "5"},
        {"resource_type": []},
        {"resource_type": 7},
        {"action": "a,b"},
        {"action": ""},
        {"before": datetime(2026, 11, 1)},
        {"before": "2026-11-01"},
        {"cursor": "nonsense"},
        {"cursor": "2026-11-01T09:30:00"},
        {"cursor": "2026-11-01T09:30:00Z ../x"},
        {"cursor": "2026-11-01T09:30:00Z log-1", "before": START},
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        _ = begin(**fields)
