"""Measuring sandboxes that do nothing costs next to nothing, and misses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandlot.server.engine.base import Usage
from sandlot.server.engine.local import gauge
from sandlot.server.engine.local.disk import DiskMeter


class Counted:
    """A meter, and a disk, that count how often they are asked."""

    def __init__(self) -> None:
        self.cpu, self.memory, self.disk = 0.0, 100, 1000
        self.asked = 0

    def measure_cpu(self) -> float:
        return self.cpu

    def measure_memory(self) -> int:
        self.asked += 1
        return self.memory


async def test_what_does_nothing_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = 1000.0
    meter, disk = Counted(), DiskMeter(tmp_path)

    async def measure_disk() -> int:
        return meter.disk

    monkeypatch.setattr(gauge.time, "monotonic", lambda: now)
    monkeypatch.setattr(disk, "measure", measure_disk)
    measured = gauge.Gauge(meter, disk)
    assert await measured.measure() == Usage(0.0, 100, 1000)
    meter.disk = 2000  # noticed late, as disks are
    now += 6
    assert await measured.measure() == Usage(0.0, 100, 2000)
    asked = meter.asked
    for _ in range(50):
        now += 1
        _ = await measured.measure()
    assert meter.asked - asked <= 5, "only until it has settled"
    meter.cpu, meter.memory = 0.5, 200
    assert await measured.measure() == Usage(0.5, 200, 2000), "at once when it moves"
    meter.memory = 50  # the kernel took some back
    now += 20
    _ = await measured.measure()
    now += 61
    assert await measured.measure() == Usage(0.5, 50, 2000)
