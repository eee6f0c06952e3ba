"""Fail unless every public symbol of the SDK has a type that needs no inference.

The server and the command line are programs, not libraries: their symbols do not count.
"""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAMS = ("sandlot.server.", "sandlot.cli.")


def main() -> int:
    """Ask pyright about every symbol; print those whose type is not known for certain."""
    command = ["pyright", "--verifytypes", "sandlot", "--ignoreexternal", "--outputjson"]
    run = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    symbols = [
        symbol
        for symbol in json.loads(run.stdout)["typeCompleteness"]["symbols"]
        if symbol["isExported"] and not symbol["name"].startswith(PROGRAMS)
    ]
    inexact = [
        symbol["name"]
        for symbol in symbols
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    print(*inexact, f"{len(symbols) - len(inexact)} of {len(symbols)} public symbols", sep="\n")
    return 1 if inexact or not symbols else 0


if __name__ == "__main__":
    sys.exit(main())
