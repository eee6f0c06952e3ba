"""What a sandbox that is prepared saves, and the memory that sandboxes with kernels take."""

from __future__ import annotations

import time

import psutil

from benchmarks.kernels import TEMPLATE, compared, peer
from benchmarks.processes import MIB, parts
from benchmarks.report import Row
from sandlot import Client

ROUNDS = 9
PATIENCE = 90.0
PROCESSES = 4
"""Of a sandbox that is prepared: its first, Jupyter, and two for the kernel in reserve."""
QUIET = 0.02
"""Seconds of CPU time in a second that count as nothing."""


def _sandboxes() -> set[psutil.Process]:
    """Return the first process of each sandbox."""
    members = parts()["agent"]
    return {process for process in members if process.parent() in members}


def _members(first: psutil.Process) -> list[psutil.Process]:
    return [first, *first.children(recursive=True)]


def _settle(sandboxes: int, processes: int = PROCESSES) -> None:
    """Wait until there are so many sandboxes, with so many processes each, and nothing happens."""
    deadline = time.monotonic() + PATIENCE
    before = float("inf")
    while time.monotonic() < deadline:
        found = [_members(first) for first in _sandboxes()]
        times = [process.cpu_times() for members in found for process in members]
        spent = sum(each.user + each.system for each in times)
        whole = len(found) == sandboxes and all(len(members) >= processes for members in found)
        if whole and spent - before < QUIET:
            return
        before = spent if whole else float("inf")
        time.sleep(1)
    raise TimeoutError(f"there are not {sandboxes} sandboxes that have come to rest")


def _first_run(client: Client) -> tuple[float, float]:
    """Return the seconds that a new sandbox takes, and the first code in it."""
    began = time.perf_counter()
    with client.sandboxes.create(TEMPLATE) as sandbox:
        made = time.perf_counter()
        execution = sandbox.run_code("1+1")
        done = time.perf_counter()
        assert execution.text == "2", execution
    return made - began, done - made


def _first_runs() -> list[Row]:
    cold: list[tuple[float, float]] = []
    warm: list[tuple[float, float]] = []
    with Client.local() as usual, Client.local(warm={TEMPLATE: 1}) as prepared:
        for _ in range(ROUNDS + 1):
            _settle(1)
            cold.append(_first_run(usual))
            _settle(1)
            here = _sandboxes()
            warm.append(_first_run(prepared))
            assert not here & _sandboxes(), "the sandbox was not the one that was prepared"
    # The first round imports what is needed here, too.
    (cold_made, cold_run), (warm_made, warm_run) = (
        [[round[part] for round in rounds[1:]] for part in range(2)] for rounds in (cold, warm)
    )
    cold_all, warm_all = ([sum(each) for each in rounds[1:]] for rounds in (cold, warm))
    first = compared("first run_code, warm", warm_run, cold_run, "cold", 0.2)
    return [
        first,
        Row("first run_code, warm", first.ours, 150, "ms", "150 ms", 1),
        compared("create, warm", warm_made, cold_made, "cold"),
        compared("create + first run_code", warm_all, cold_all, "cold"),
    ]


def _memory(*processes: psutil.Process) -> float:
    """MiB that processes hold; what they share with others counts in parts."""
    pss: list[int] = [process.memory_full_info().pss for process in processes]
    return sum(pss) / MIB


def _memory_of_sandboxes() -> float:
    return _memory(*(process for first in _sandboxes() for process in _members(first)))


def _memory_of_kernel(code: str) -> float:
    with peer() as other:
        _ = other.run(code)
        return _memory(psutil.Process(other.kernel_pid))


def _idle() -> list[Row]:
    rows: list[Row] = []
    for what, code in (("1+1", "1+1"), ("pandas, matplotlib", "import pandas, matplotlib.pyplot")):
        with Client.local() as client, client.sandboxes.create(TEMPLATE) as sandbox:
            _ = sandbox.run_code(code).check()
            _settle(1, PROCESSES + 1)
            one = _memory_of_sandboxes()
            with client.sandboxes.create(TEMPLATE) as second:
                _ = second.run_code(code).check()
                _settle(2, PROCESSES + 1)
                more = _memory_of_sandboxes() - one
        alone = _memory_of_kernel(code)
        against = "a bare kernel on the host"
        rows += [
            Row(f"memory, {what}", one, alone, "MiB", against),
            Row("  of a second sandbox", more, one, "MiB", "the first"),
        ]
    return rows


def run() -> list[Row]:
    """Compare the first code in sandboxes, prepared and not, and idle memory."""
    return [*_first_runs(), *_idle()]
