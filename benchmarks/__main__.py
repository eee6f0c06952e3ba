"""Run the benchmarks: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from benchmarks import (
    calls,
    code,
    commands,
    creation,
    growth,
    imports,
    lists,
    neighbours,
    network,
    proxy,
    scale,
    snapshots,
    transfers,
    warmth,
)
from benchmarks.report import Row, machine, print_rows

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "imports": imports.run,
    "calls": calls.run,
    "commands": commands.run,
    "creation": creation.run,
    "scale": scale.run,
    "neighbours": neighbours.run,
    "transfers": transfers.run,
    "proxy": proxy.run,
    "network": network.run,
    "code": code.run,
    "snapshots": snapshots.run,
    "warmth": warmth.run,
    "growth": growth.run,
    "lists": lists.run,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(
            f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr
        )
        return 2
    # What is compared with cold starts shall be one.
    _ = os.environ.setdefault("SANDLOT_SERVER_WARM_ADAPT", "false")
    print(machine())
    for name in names or BENCHMARKS:
        print_rows(name, BENCHMARKS[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
