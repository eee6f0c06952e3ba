"""What can go wrong on the way out."""

from __future__ import annotations

__all__ = ["BadConfigError", "NotDeliveredError"]


class BadConfigError(Exception):
    """The configuration makes no sense; the message says why without quoting it."""


class NotDeliveredError(Exception):
    """A message did not arrive, as far as is known; the message says why, and quotes nothing.

    Attributes:
        status: HTTP status of the answer, if there was one.
        retry_after: Seconds that the receiver wants to be left alone.
        final: Trying again is of no use.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after
        self.final = final
