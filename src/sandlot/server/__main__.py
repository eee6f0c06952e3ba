"""`python -m sandlot.server`: the control plane as a program."""

from __future__ import annotations

import asyncio
import gc
import sys

__all__ = ["main"]


def main() -> int:
    """Run the control plane and return an exit code."""
    # Nothing of what the imports make is garbage, and looking for it takes a fifth of the time
    # to start. The server turns the collector on again once it listens.
    gc.disable()
    run = _embedded if sys.argv[1:2] == ["--embedded-fd"] else _standalone
    return run()


def _embedded() -> int:
    from .embedded import run_embedded

    return run_embedded(int(sys.argv[2]))


def _standalone() -> int:
    from pydantic import ValidationError
    from pydantic_settings import CliApp

    from .settings import Settings

    if sys.argv[0] == __file__:  # what usage is shown for; `sandlot serve` is there already
        sys.argv[0] = "python -m sandlot.server"
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            reason = problem["msg"].removeprefix("Value error, ")
            text = f"{where}: {reason}" if where else reason
            _ = sys.stderr.write(f"sandlot: {text}\n")
        return 2
    from .standalone import run_standalone

    return asyncio.run(run_standalone(settings))


if __name__ == "__main__":
    sys.exit(main())
