"""Recipes of templates, as users write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidArgumentError
from . import arguments


def lines(value: Any) -> list[str]:
    """Return the instructions of a recipe: a list of them, or the text of a file.

    A line of a text that ends with a backslash goes on in the next one. Its instruction stands in
    the place of the first, and nothing in the places of the others, so that what the server says
    of line 7 is said of line 7.
    """
    if isinstance(value, str):
        found = _joined(arguments.text(value, "recipe").splitlines())
    else:
        found = arguments.optional_words(value, "recipe") or []
    if not any(map(_is_instruction, found)):
        raise InvalidArgumentError("recipe has no instruction")
    return found


def instructions(found: Sequence[str]) -> list[str]:
    """Return the lines that are instructions: original servers know no others."""
    return [line for line in found if _is_instruction(line)]


def _is_instruction(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _joined(rows: Sequence[str]) -> list[str]:
    found: list[str] = []
    begun: int | None = None
    for row in rows:
        goes_on = row.endswith("\\") and not (begun is None and not _is_instruction(row))
        text = row[:-1] if goes_on else row
        if begun is None:
            found.append(text)
        else:
            found[begun] += text
            found.append("")
        begun = (len(found) - 1 if begun is None else begun) if goes_on else None
    return found
