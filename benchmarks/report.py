"""Measuring fairly and saying it in a table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LINE = "  {:<26}{:>11}{:>11}  {:<5}{:>7}{:>7}  {}"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: a figure of ours beside the limit it is held against."""

    what: str
    ours: float
    limit: float
    unit: str
    against: str
    goal: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """How many times worse than the limit; 1 is perfect."""
        if self.more_is_better:
            return self.limit / self.ours
        return self.ours / self.limit


def interleaved(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """Median seconds of each action, taken in turns so that noise hits all alike."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, times in zip(actions, taken, strict=True):
            started = time.perf_counter()
            _ = action()
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in taken]


def print_rows(name: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    print(f"\n{name}")
    print(_LINE.format("what", "ours", "limit", "unit", "ratio", "goal", "against"))
    for row in rows:
        goal = "-" if row.goal is None else f"{row.goal:.2f}"
        ours, limit, ratio = f"{row.ours:.3f}", f"{row.limit:.3f}", f"{row.ratio:.2f}"
        print(_LINE.format(row.what, ours, limit, row.unit, ratio, goal, row.against), flush=True)


def machine() -> str:
    """Say where this was measured."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()},"
        f" {'root' if os.getuid() == 0 else 'ordinary user'}, load {load:.1f}"
    )
