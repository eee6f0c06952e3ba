"""The labels of sandboxes, which the API calls `metadata`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .errors import InvalidRequestError

__all__ = ["check_labels"]

# Both are in one entry of an index. That has room for 2704 bytes in PostgreSQL, and a character
# may take four.
_LONGEST_NAME: Final = 128
_LONGEST_VALUE: Final = 512


def check_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return labels that a sandbox can have.

    Raises:
        InvalidRequestError: It cannot.
    """
    for name, value in labels.items():
        if "\0" in name or len(name) > _LONGEST_NAME:
            raise InvalidRequestError(
                f"metadata: a name has at most {_LONGEST_NAME} characters, and no NUL."
            )
        if "\0" in value or len(value) > _LONGEST_VALUE:
            raise InvalidRequestError(
                f"metadata: the value of {name!r} must have at most {_LONGEST_VALUE} characters,"
                " and no NUL."
            )
    return labels
