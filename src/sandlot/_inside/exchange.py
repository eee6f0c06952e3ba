"""Values that go into a kernel and come out of it: plain ones and tables, as JSON, never pickled.

Both sides of the conversation use this module.
"""

from __future__ import annotations

import json
from typing import Any

from . import frames, plain, tables

MAX_BYTES = 64 << 20
"""Of one value, as JSON. More is a matter for files."""
ANSWER = "application/vnd.sandlot.answer"
"""MIME type of an answer to the library."""


class Answer:
    """What the value of an expression tells the library; IPython calls its method."""

    def __init__(self, content: str) -> None:
        self._content = content

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {ANSWER: self._content}


def write(value: object) -> str:
    """Return the JSON text of a value.

    Raises:
        plain.PlainError: It has none, or it is too long.
    """
    text = json.dumps(_form(value), allow_nan=False)
    if len(text) > MAX_BYTES:
        raise plain.PlainError(
            f"it takes {len(text) >> 20} MB as JSON, of at most {MAX_BYTES >> 20}; use a file"
        )
    return text


def parse(text: str) -> dict[str, Any]:
    """Return the JSON in a text, from wherever it comes: an object with the form of a value.

    Raises:
        plain.PlainError: It is none.
    """
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise plain.PlainError("it is no JSON") from exc
    if not isinstance(form, dict):
        raise plain.PlainError("it is no object")
    fields: dict[str, Any] = {**form}
    return fields


def read(form: dict[str, Any]) -> Any:
    """Return the value of a form, from wherever it comes.

    Raises:
        plain.PlainError: It is the form of none.
        ImportError: It is a table, and there is no pyarrow to read it with.
    """
    if "plain" in form:
        return plain.decode(form["plain"])
    if "frame" in form:
        return frames.decode(form["frame"])
    raise plain.PlainError("it is neither a plain value nor a table")


def _form(value: object) -> dict[str, Any]:
    if not frames.is_frame(value):
        return {"plain": plain.encode(value)}
    try:
        return {"frame": frames.encode(value)}
    except ImportError as exc:
        table = tables.shown(value)
        if (
            len(table["rows"]) < table["total_rows"]
            or len(table["columns"]) < table["total_columns"]
        ):
            raise plain.PlainError(f"a table of this size needs pyarrow ({exc})") from exc
        return {"table": table}


def get(name: str) -> Answer:
    """Answer with the value of a variable of user code."""
    namespace = _namespace()
    if name not in namespace:
        raise NameError(f"there is no variable {name!r}")
    return Answer(write(namespace[name]))


def set(name: str, text: str) -> Answer:
    """Give a variable of user code the value of a JSON text."""
    _namespace()[name] = read(parse(text))
    return Answer("null")


def _namespace() -> dict[str, Any]:
    from . import display

    namespace: dict[str, Any] = display.current_shell().user_ns
    return namespace
