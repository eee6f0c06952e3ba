"""CPU time of `import sandlot` with its client, against importing what it stands on."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

from benchmarks.report import Row

ROUNDS = 15


def _cpu(code: str) -> float:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _ = subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run() -> list[Row]:
    """Compare, net of the interpreter's own start."""
    codes = {
        "bare": "pass",
        "limit": "import httpx, pydantic; httpx.Client; pydantic.BaseModel, pydantic.TypeAdapter",
        "sync": "import sandlot; sandlot.Client",
        "both": "import sandlot; sandlot.Client, sandlot.AsyncClient, sandlot.AsyncSandbox",
        "first": "import sandlot; sandlot.Client; sandlot.SandboxInfo.model_rebuild()",
    }
    taken: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(ROUNDS):
        for name, code in codes.items():
            taken[name].append(_cpu(code))
    median = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    bare = median["bare"]
    return [
        Row(what, median[name] - bare, median["limit"] - bare, "ms", "import httpx, pydantic", goal)
        for what, name, goal in (
            ("import sandlot, Client", "sync", 1.25),
            ("import sandlot, all", "both", None),
            ("import sandlot, Client, and a model, as the first call does", "first", None),
        )
    ]
