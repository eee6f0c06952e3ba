"""Run all tests side by side, and the few that failed once more by themselves.

Tests here kill servers, exhaust sandboxes and fill disks, so that a neighbour may run out of its
time for no fault of its own. What passes only by itself is named: it is a fault to be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 5  # more is no accident


def main() -> int:
    """Run pytest; return its exit code."""
    code = _run("--cache-clear", "--numprocesses", "auto", "--durations", "25")
    if code != 1:
        return code
    failed = list(json.loads(FAILED.read_text()))
    if not 0 < len(failed) <= MOST:
        return code
    print(f"{len(failed)} failed beside others; once more by themselves:", flush=True)
    code = _run("--last-failed", "--last-failed-no-failures", "none")
    if code == 0:
        print("UNSTEADY (passed only by themselves):", *failed, sep="\n  ")
    return code


def _run(*options: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
