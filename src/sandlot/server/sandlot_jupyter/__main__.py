"""Run the Jupyter server of a sandbox, and write a line to standard output once it answers."""

from __future__ import annotations

from .slow_modules import hide

hide()  # before the server is imported

from .server import serve  # noqa: E402

serve()
