"""The command `sandlot`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        from ._commands import app
    except ImportError as exc:
        sys.exit(
            f"The sandlot command needs {exc.name}, which is not installed:"
            " pip install 'sandlot[all]'"
        )
    app()
