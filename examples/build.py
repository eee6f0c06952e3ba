"""A template from a recipe: a module, a variable and a program that each of its sandboxes has.

python examples/build.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sandlot import BuildFailedError, Client
from sandlot.models import BuildLogPiece

MODULE = """
import os, statistics, sys

lengths = [len(line.rstrip()) for line in open(sys.argv[1])]
print(len(lengths), "lines,", statistics.mean(lengths), os.environ["UNIT"])
"""
RECIPE = """
# The directory that is sent along has tools/lines.py.
COPY . .
ENV UNIT=characters
ENV PYTHONPATH=$HOME
RUN echo hello > text && \\
    python3 -m tools.lines text
WORKDIR work
START python3 -m http.server 8000 2>/dev/null
"""
ASK = "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').status)\""


def show(piece: BuildLogPiece) -> None:
    """Print what the build writes, as it writes it."""
    mark = f"{piece.step}." if piece.stream == "command" else "  |"
    for line in piece.text.splitlines():
        print(f"  {mark} {line}", flush=True)


def main() -> None:
    """Build a template, use it, and see a recipe fail."""
    with tempfile.TemporaryDirectory() as directory, Client.local() as client:
        tools = Path(directory, "tools")
        tools.mkdir()
        _ = (tools / "lines.py").write_text(MODULE)
        build = client.builds.create(
            "lines", RECIPE, base_template="base-python", archive=directory, healthcheck=ASK
        )
        build = client.builds.wait(build.id, timeout=120, progress=show)
        print(f"{build.name}: {build.status}")

        with client.sandboxes.create("lines") as sandbox:
            sandbox.upload("work/mine.txt", b"one\nthree\n")
            print(sandbox.exec(f"pwd; python3 -m tools.lines mine.txt; {ASK}").stdout, end="")

        bad = client.builds.create("bad", ["RUN true", "RUN cat /etc/shadow"])
        try:
            _ = client.builds.wait(bad.id, timeout=120)
        except BuildFailedError as error:
            print(error)


if __name__ == "__main__":
    main()
