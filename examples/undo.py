"""Let an agent try, look at what it did, take it back, and try several ways at once.

python examples/undo.py
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sandlot import Client

DATA = Path(__file__).parent / "data"

CLEAN = "grep -v ',NA' penguins.csv > clean.csv && mv clean.csv penguins.csv"
BLUNDER = "rm penguins.csv && echo done > notes.txt"
ATTEMPTS = {"mean": "statistics.mean(masses)", "range": "max(masses) - min(masses)"}
PROGRAM = """
import csv, statistics
masses = [int(row["body_mass_g"]) for row in csv.DictReader(open("penguins.csv"))]
print(f"{ANSWER:.0f} g")
"""


@contextmanager
def timed(step: str) -> Generator[None]:
    """Print how long a step took."""
    started = time.perf_counter()
    yield
    print(f"  {step:<28} {(time.perf_counter() - started) * 1000:8.1f} ms", flush=True)


def main() -> None:
    """Checkpoint, change, compare, roll back; snapshot, fork, compare."""
    print("undo and fork:")
    with Client.local() as client, client.sandboxes.create("base-python") as sandbox:
        sandbox.upload("penguins.csv", (DATA / "penguins.csv").read_bytes())
        with timed("checkpoint"):
            before = sandbox.checkpoint("as it came")

        sandbox.exec(BLUNDER, check=True)
        with timed("changes"):
            changes = sandbox.changes(before, diff=False)
        for change in changes.changes:
            print(f"  | {change.kind:<8} {change.path}")
        with timed("roll back"):
            sandbox.rollback(before)
        print(f"  | there again: {sandbox.exec('wc -l < penguins.csv').stdout.strip()} lines")

        sandbox.exec(CLEAN, check=True)
        (change,) = sandbox.changes(before).changes
        removed = [line for line in (change.diff or "").splitlines() if line.startswith("-")]
        print(f"  | {change.kind} {change.path}: {len(removed) - 1} lines removed")

        with timed("fork, twice"):
            forks = sandbox.fork(len(ATTEMPTS))
        for (name, expression), fork in zip(ATTEMPTS.items(), forks, strict=True):
            with fork:
                program = PROGRAM.replace("ANSWER", expression)
                answer = fork.exec(["python3", "-c", program], check=True)
                print(f"  | {name}: {answer.stdout.strip()}")

        with timed("snapshot"):
            sandbox.snapshot("clean-penguins")
        with timed("create from it"):
            other = client.sandboxes.create("clean-penguins")
        with other:
            print(f"  | {other.exec('ls').stdout.strip()} in {other.template}")


if __name__ == "__main__":
    main()
