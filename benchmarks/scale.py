"""Many sandboxes at once: what they cost while they do nothing, and what busy ones do to others."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil

from benchmarks.processes import MIB, parts
from benchmarks.report import Row
from sandlot import Client, Sandbox
from sandlot.sandbox import ExecStream

COUNT = int(os.environ.get("SANDLOT_BENCH_SANDBOXES", "300"))
BUSY = 50
EXECS = 60
THREADS = 4
SETTLED = 15.0
"""Seconds after which idle sandboxes are measured less often."""
WATCHED = 10.0
SPIN = "while :; do :; done"
NOW_AND_THEN = "while :; do i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; sleep 0.1; done"


def _memory(processes: list[psutil.Process]) -> float:
    """Return the MiB that processes hold; what they share with others counts in parts."""
    pss: list[int] = [process.memory_full_info().pss for process in processes]
    return sum(pss) / MIB


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _exec_times(sandbox: Sandbox) -> tuple[float, float]:
    """Return the median and the 99th percentile of the milliseconds that `true` takes."""
    times: list[float] = []
    for _ in range(EXECS):
        began = time.perf_counter()
        _ = sandbox.exec(["true"], check=True)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def run() -> list[Row]:
    """Compare many sandboxes with one."""
    with Client.local() as client, ThreadPoolExecutor(THREADS) as threads:
        first = client.sandboxes.create()
        alone = _exec_times(first)
        one = _memory(parts()["agent"])
        (server,) = parts()["server"]
        server_alone = _memory([server])
        began = time.perf_counter()
        rest = list(threads.map(lambda _: client.sandboxes.create(), range(COUNT - 1)))
        each = (time.perf_counter() - began) / len(rest)
        many = _memory(parts()["agent"])
        per_sandbox = (many - one) / len(rest)
        groups = [
            box.metrics().points[-1].mem_bytes / MIB for box in rest[:: max(len(rest) // 10, 1)]
        ]
        among = _exec_times(first)
        time.sleep(SETTLED)
        spent, since = _cpu(server), time.perf_counter()
        time.sleep(WATCHED)
        share = (_cpu(server) - spent) / (time.perf_counter() - since)
        against = f"1 sandbox, of {COUNT}"
        rows = [
            Row("memory of each, PSS", per_sandbox, one, "MiB", "the first, with the zygote"),
            Row("  as control groups count", statistics.median(groups), per_sandbox, "MiB", "PSS"),
            Row("memory of the server", _memory([server]), server_alone, "MiB", against),
            Row("create, 4 at a time", each * 1000, alone[0], "ms", "exec true"),
            Row("CPU of the server, idle", share * 1000, 1000, "ms/s", "a processor", 0.05),
            Row("exec true, p50", among[0], alone[0], "ms", against),
            Row("exec true, p99", among[1], alone[1], "ms", against),
        ]
        for what, line in (("half busy", NOW_AND_THEN), ("spinning", SPIN)):
            rows += _beside(what, first, rest[:BUSY], line, alone)
        began = time.perf_counter()
        _ = client.sandboxes.stop_many([first.id, *(box.id for box in rest)])
        ended = (time.perf_counter() - began) / COUNT
        return [*rows, Row("destroy, all at once", ended * 1000, each * 1000, "ms", "create")]


def _beside(
    what: str, first: Sandbox, busy: list[Sandbox], line: str, alone: tuple[float, float]
) -> list[Row]:
    with ExitStack() as stack:
        for box in busy:
            stream: ExecStream = stack.enter_context(box.exec_stream(["sh", "-c", line]))
            _ = next(iter(stream))
        middle, late = _exec_times(first)
    against = f"1 sandbox, of {COUNT}"
    return [
        Row(f"exec true, p50, {len(busy)} {what}", middle, alone[0], "ms", against),
        Row(f"exec true, p99, {len(busy)} {what}", late, alone[1], "ms", against),
    ]
