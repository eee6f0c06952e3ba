from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise

import httpx
import pytest
from harness import Box, eventually

from sandlot.server.engine.base import Usage
from sandlot.server.services.metrics import History


def test_points_come_every_second(box: Box) -> None:
    first = box.client.get(box.url("/metrics")).json()
    assert first["range"] == "10m"
    assert first["sandbox_id"] == box.id
    assert len(first["points"]) >= 1
    eventually(lambda: len(box.client.get(box.url("/metrics")).json()["points"]) >= 3)
    times = [p["timestamp_unix"] for p in box.client.get(box.url("/metrics")).json()["points"]]
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 5


def test_they_show_what_is_used(box: Box) -> None:
    assert box.sh("head -c 8000000 /dev/zero > file")["exit_code"] == 0
    with box.stream() as stream:
        stream.send(
            json.dumps({"type": "start", "cmd": "/bin/sh", "args": ["-c", "while :; do :; done"]})
        )
        assert json.loads(stream.recv(20))["type"] == "start"

        def last() -> dict[str, float]:
            point: dict[str, float] = box.client.get(box.url("/metrics")).json()["points"][-1]
            return point

        eventually(lambda: last()["cpu_pct"] > 20)
        eventually(lambda: last()["disk_bytes"] >= 8_000_000)
        assert last()["mem_bytes"] > 100_000
        assert last()["cpu_pct"] <= 100


@pytest.mark.parametrize("range", ["5m", "10m", "1h", "2h", "6h", "12h", "24h"])
def test_all_ranges(common: Box, range: str) -> None:
    answer = common.client.get(common.url(f"/metrics?range={range}"))
    assert answer.status_code == 200
    assert answer.json()["range"] == range


@pytest.mark.parametrize("path", ["/metrics?range=1m", "/metrics?range=30d"])
def test_unknown_ranges(common: Box, path: str) -> None:
    answer = common.client.get(common.url(path))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


def test_paused_sandboxes_keep_theirs(box: Box) -> None:
    eventually(lambda: len(box.client.get(box.url("/metrics")).json()["points"]) >= 2)
    assert box.post("/pause").status_code == 200
    before = box.client.get(box.url("/metrics")).json()["points"]
    assert len(before) >= 2
    time.sleep(1.5)  # longer than the interval: no point may be added
    assert box.client.get(box.url("/metrics")).json()["points"] == before


def test_stopped_sandboxes_have_none(box: Box) -> None:
    assert box.client.delete(box.url()).status_code == 204
    answer = box.client.get(box.url("/metrics"))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_averages_and_their_ends() -> None:
    history = History(vcpus=2)
    # A second of one of two processors each second, memory as large as the number of the second.
    for second in range(3 * 3600):
        history.add(Usage(float(second), second, 7), float(second), 1_200_000.0 + second)
    now = 1_200_000.0 + 3 * 3600 - 1
    fine = history.points("10m", now)
    assert len(fine) == 600
    assert {point.cpu_pct for point in fine} == {50.0}
    assert fine[-1].memory_bytes == 3 * 3600 - 1
    medium = history.points("2h", now)
    assert len(medium) == 240
    assert {later.time - earlier.time for earlier, later in pairwise(medium)} == {30}
    first = medium[0].time - 1_200_000  # the last second of the window
    assert medium[0].memory_bytes == sum(range(first - 29, first + 1)) // 30
    coarse = history.points("24h", now)
    assert len(coarse) == 36
    assert len(history.points("5m", now)) == 300


def test_processors_are_never_used_more_than_fully() -> None:
    history = History(vcpus=1)
    history.add(Usage(0.0, 0, 0), 0.0, 1000.0)
    history.add(Usage(9.0, 0, 0), 1.0, 1001.0)
    history.add(Usage(1.0, 0, 0), 2.0, 1002.0)
    assert [point.cpu_pct for point in history.points("5m", 1002.0)] == [0.0, 100.0, 0.0]


def test_stats(client: httpx.Client, make: Callable[..., Box]) -> None:
    def current() -> dict[str, int]:
        answer: dict[str, dict[str, int]] = client.get("/v1/sandboxes/stats").json()
        return answer["current"]

    before = current()
    box = make(vcpus=2, memory_mb=301)
    with_box = current()
    assert with_box["running_count"] == before["running_count"] + 1
    assert with_box["vcpus_reserved"] == before["vcpus_reserved"] + 2
    assert with_box["memory_mb_reserved"] == before["memory_mb_reserved"] + 301
    assert box.post("/pause").status_code == 200
    paused = current()
    assert paused["running_count"] == before["running_count"]
    assert paused["vcpus_reserved"] == before["vcpus_reserved"]
    assert paused["memory_mb_reserved"] == before["memory_mb_reserved"] + 151


@pytest.mark.parametrize("range", ["5m", "1h", "6h", "24h", "30d"])
def test_series_of_stats(client: httpx.Client, common: Box, range: str) -> None:
    def answer() -> dict[str, dict[str, list[object]]]:
        answer: dict[str, dict[str, list[object]]] = client.get(
            f"/v1/sandboxes/stats?range={range}"
        ).json()
        return answer

    assert common.get()["status"] == "running"
    eventually(lambda: len(answer()["series"]["labels"]) > 0)
    series = answer()["series"]
    assert len({len(column) for column in series.values()}) == 1
    assert answer()["peaks"]["running_count"]


def test_unknown_ranges_of_stats(client: httpx.Client) -> None:
    assert client.get("/v1/sandboxes/stats?range=10m").status_code == 400
