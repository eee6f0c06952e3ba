"""What ten thousand commands leave behind in the processes that ran them: it should be nothing."""

from __future__ import annotations

import os

import psutil

from benchmarks.processes import MIB, parts, resident
from benchmarks.report import Row
from sandlot import Client

CALLS = int(os.environ.get("SANDLOT_BENCH_CALLS", "10000"))


def _descriptors(processes: list[psutil.Process]) -> int:
    return sum(process.num_fds() for process in processes)


def run() -> list[Row]:
    """Compare memory, descriptors and children after the first tenth and after all."""
    with Client.local() as client, client.sandboxes.create() as sandbox:
        for _ in range(CALLS // 10):
            _ = sandbox.exec(["true"])
        members = parts()
        memory = {name: resident(processes) / MIB for name, processes in members.items()}
        descriptors = {name: _descriptors(processes) for name, processes in members.items()}
        children = len(psutil.Process().children(recursive=True))
        for _ in range(CALLS - CALLS // 10):
            _ = sandbox.exec(["true"])
        against = f"after {CALLS // 10} of {CALLS} execs"
        rows = [
            Row(
                f"memory of the {name}",
                resident(processes) / MIB,
                memory[name],
                "MiB",
                against,
                1.1,
            )
            for name, processes in members.items()
        ]
        rows += [
            Row(
                f"descriptors of the {name}",
                _descriptors(processes),
                descriptors[name],
                "",
                against,
                1.0,
            )
            for name, processes in members.items()
        ]
        rows.append(
            Row(
                "processes",
                len(psutil.Process().children(recursive=True)),
                children,
                "",
                against,
                1.0,
            )
        )
    return rows
