"""Lists the variables of user code without running any of it: no `repr`, no `len` of its own."""

from __future__ import annotations

import json
import types
from typing import Any

from . import display, exchange, plain

MAX_VARIABLES = 10_000
_MAX_TEXT = 200
_MAX_ITEMS = 6
_MAX_DEPTH = 2

_NO_DATA = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
)
_KNOWN = {"numpy", "pandas", "polars", "pyarrow", "scipy", "torch", "xarray"}
"""Libraries whose `shape` is known to be harmless."""


def answer() -> exchange.Answer:
    """Answer with name, type, size and the beginning of the text of each variable."""
    shell = display.current_shell()
    hidden = shell.user_ns_hidden
    found = [
        {
            "name": name,
            "type": _name(plain.kind(value)),
            "shape": _shape(value),
            "text": _text(value),
        }
        for name, value in list(shell.user_ns.items())
        if type(name) is str
        and not name.startswith("_")
        and not (name in hidden and hidden[name] is value)
        and not issubclass(type(value), _NO_DATA)
    ]
    return exchange.Answer(json.dumps(found[:MAX_VARIABLES]))


def _name(kind: Any) -> str:
    module = type.__getattribute__(kind, "__module__")
    name = type.__getattribute__(kind, "__qualname__")
    return name if module == "builtins" else f"{module}.{name}"


def _shape(value: Any) -> list[int] | None:
    """Return how many there are in each dimension; None if it has none, or nobody knows."""
    kind = plain.kind(value)
    if kind in _OPENED or kind in (str, bytes, bytearray, range):
        return [len(value)]
    if _library(kind) in _KNOWN:
        try:
            return [int(size) for size in value.shape]
        except Exception:
            return None
    return None


def _library(kind: Any) -> str:
    return str(type.__getattribute__(kind, "__module__")).partition(".")[0]


def _text(value: Any, depth: int = 0) -> str:
    """Return a short text of a value; of those that could run code or take long, just the type."""
    kind = plain.kind(value)
    if kind in (bool, float, complex, type(None), type(...), range):
        text = repr(value)
    elif kind is int:
        bits = value.bit_length()
        text = repr(value) if bits < 1024 else f"<int of {bits} bits>"
    elif kind in (str, bytes, bytearray):
        text = repr(value[:_MAX_TEXT])
    elif kind in _OPENED:
        text = _items(value, depth)
    elif (shape := _shape(value)) is not None:
        text = f"<{_name(kind)} {' x '.join(map(str, shape))}>"
    else:
        text = f"<{_name(kind)}>"
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _items(value: Any, depth: int) -> str:
    kind = plain.kind(value)
    start, end = _OPENED[kind]
    shown: list[str] = []
    for item in value:
        if len(shown) == _MAX_ITEMS or depth == _MAX_DEPTH:
            shown.append("...")
            break
        text = _text(item, depth + 1)
        if kind is dict:
            text = f"{text}: {_text(value[item], depth + 1)}"
        shown.append(text)
    alone = "," if kind is tuple and len(shown) == 1 else ""
    return f"{start}{', '.join(shown)}{alone}{end}"


_OPENED: dict[Any, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}
