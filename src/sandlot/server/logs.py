"""The log: a JSON object a line, on standard error.

Neither headers nor bodies nor command lines are logged: keys and other people's secrets are in
them.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

__all__ = ["configure_logs"]


def configure_logs(level: str) -> None:
    """Send all loggers, ours and those of libraries, to standard error."""
    root = logging.getLogger()
    root.handlers[:] = [_JsonHandler(sys.stderr)]
    # In detail, libraries log statements with their parameters, and pieces of bodies.
    root.setLevel(logging.WARNING)
    logging.getLogger("sandlot").setLevel(level.upper())
    # It tells again, in another wording and without the id, what the middleware has told.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Writes records as JSON; what that takes is imported when there is something to write."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        if self.formatter is None:
            self.setFormatter(_formatter())
        return super().format(record)


def _formatter() -> logging.Formatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
