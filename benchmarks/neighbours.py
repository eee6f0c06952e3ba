"""How long commands of a sandbox take while its neighbour does its worst, against a quiet one."""

from __future__ import annotations

import statistics
import time

from benchmarks.report import Row
from sandlot import Client, ExecStream, Sandbox

COMMANDS = 120
ROUNDS = 2
SETTLING = 20
ATTACKS = {
    "fork bomb": (
        "python3",
        "-c",
        "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
    ),
    "memory hog": (
        *("sh", "-c"),
        "while :; do python3 -c 'x=[]\nwhile True: x.append(b\"x\"*(1<<20))'; done",
    ),
    "disk filler": (
        *("sh", "-c"),
        "while :; do rm -f f*; for i in 1 2 3 4; do head -c 20m /dev/zero > f$i; done; done",
    ),
    "cpu spin": (
        *("python3", "-c"),
        "import os\nfor _ in range(200):\n  if os.fork() == 0:\n    while True: pass\nos.wait()",
    ),
}


def _latencies(sandbox: Sandbox, count: int) -> list[float]:
    """Return the sorted milliseconds that a command takes, again and again."""
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        assert sandbox.exec(["true"]).ok
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def _begin(sandbox: Sandbox, argv: tuple[str, ...]) -> ExecStream:
    return sandbox.exec_stream(list(argv))


def run() -> list[Row]:
    """Compare the median and the slowest hundredth, in turns with a quiet neighbour."""
    rows: list[Row] = []
    with (
        Client.local() as client,
        client.sandboxes.create("minimal") as victim,
    ):
        _ = _latencies(victim, SETTLING)
        for name, argv in ATTACKS.items():
            quiet: list[float] = []
            loud: list[float] = []
            for _ in range(ROUNDS):
                quiet += _latencies(victim, COMMANDS)
                with (
                    client.sandboxes.create(
                        "base-python", vcpus=1, memory_mb=128, disk_mb=100
                    ) as attacker,
                    _begin(attacker, argv),
                ):
                    _ = _latencies(victim, SETTLING)
                    loud += _latencies(victim, COMMANDS)
            rows += [
                Row(
                    f"{name}, p50", statistics.median(loud), statistics.median(quiet), "ms", "quiet"
                ),
                Row(f"{name}, p99", _slowest(loud), _slowest(quiet), "ms", "quiet"),
            ]
    return rows


def _slowest(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]
