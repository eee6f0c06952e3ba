"""Plain Python values as JSON, exactly: what is not JSON's own is marked with its type.

Texts, booleans, None, lists, finite floats and integers that every JSON parser keeps are
themselves. Anything else is an object `{"$": type, "v": content}`. Nothing is taken for something
similar: what has no form here is refused. Both sides of the conversation use this module.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import fractions
import math
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

MARK = "$"
MAX_DEPTH = 100
"""How deep values may be nested; what contains itself is deeper than that."""

_EXACT = 1 << 53  # RFC 8259, section 6: integers up to this size are the same everywhere


class PlainError(ValueError):
    """A value has no plain form, or what should be one is none."""


def kind(value: object) -> Any:
    """Return the type of a value, as something that any table can be asked for."""
    return type(value)


def encode(value: object, depth: int = 0) -> Any:
    """Return the JSON form of a value.

    Raises:
        PlainError: It has none; the message names its type.
    """
    if value is None or kind(value) is bool:
        return value
    if depth > MAX_DEPTH:
        raise PlainError(f"values nested deeper than {MAX_DEPTH}, or that contain themselves")
    writer = _WRITERS.get(kind(value))
    if writer is not None:
        return writer(value, depth)
    scalar = _numpy_scalar(value)
    if scalar is not None:
        return encode(scalar, depth)
    name = f"{kind(value).__module__}.{kind(value).__qualname__}"
    raise PlainError(f"a {name} is not a plain value")


def decode(data: object, depth: int = 0) -> Any:
    """Return the value that a JSON form stands for.

    Raises:
        PlainError: It is none of `encode`'s.
    """
    if depth > 2 * MAX_DEPTH + 2:
        raise PlainError("it is nested too deep")
    if data is None or isinstance(data, (bool, int, float, str)):
        return data
    if _is_list(data):
        return _read_list(data, depth)
    if not _is_object(data):
        raise PlainError(f"a {type(data).__name__} is not JSON")
    fields = data
    if MARK not in fields:
        return {_text(key): decode(item, depth + 1) for key, item in fields.items()}
    name, content = fields[MARK], fields.get("v")
    reader = _READERS.get(name) if isinstance(name, str) else None
    if reader is None:
        raise PlainError("it is marked with an unknown type")
    try:
        return reader(content, depth)
    except PlainError:
        raise
    except (ArithmeticError, TypeError, ValueError, AttributeError) as exc:
        raise PlainError(f"it is no {name}") from exc


def _marked(name: str, content: object) -> Any:
    return {MARK: name, "v": content}


def _numpy_scalar(value: object) -> object | None:
    """Return the Python value of a numpy number; None if it is something else."""
    for base in kind(value).__mro__:
        if base.__module__ == "numpy" and base.__name__ == "generic":
            item: object = getattr(value, "item")()  # noqa: B009
            return item if kind(item) in _WRITERS or kind(item) is bool else None
    return None


def _write_str(value: str, depth: int) -> Any:
    try:
        _ = value.encode()
    except UnicodeEncodeError:
        return _marked("str", _packed(value.encode("utf-8", "surrogatepass")))
    return value


def _write_int(value: int, depth: int) -> Any:
    return value if -_EXACT <= value <= _EXACT else _marked("int", hex(value))


def _write_float(value: float, depth: int) -> Any:
    return value if math.isfinite(value) else _marked("float", repr(value))


def _write_list(value: Any, depth: int) -> Any:
    return [encode(item, depth + 1) for item in value]


def _write_dict(value: dict[Any, Any], depth: int) -> Any:
    if MARK not in value and all(type(key) is str and _write_str(key, 0) is key for key in value):
        return {key: encode(item, depth + 1) for key, item in value.items()}
    pairs = [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]
    return _marked("dict", pairs)


def _write_delta(value: datetime.timedelta, depth: int) -> Any:
    return _marked("timedelta", [value.days, value.seconds, value.microseconds])


def _write_complex(value: complex, depth: int) -> Any:
    return _marked("complex", [_write_float(value.real, 0), _write_float(value.imag, 0)])


def _write_fraction(value: fractions.Fraction, depth: int) -> Any:
    return _marked("fraction", [_write_int(value.numerator, 0), _write_int(value.denominator, 0)])


def _listed(name: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: _marked(name, _write_list(value, depth))


def _iso(name: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: _marked(name, value.isoformat())


def _printed(name: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: _marked(name, str(value))


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unpacked(content: object) -> bytes:
    return base64.b64decode(_text(content), validate=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise PlainError("a text is expected")
    return value


def _items(value: object) -> list[Any]:
    if not _is_list(value):
        raise PlainError("a list is expected")
    return value


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _read_list(content: object, depth: int) -> Any:
    return [decode(item, depth + 1) for item in _items(content)]


def _read_dict(content: object, depth: int) -> Any:
    pairs = [_read_list(pair, depth + 1) for pair in _items(content)]
    return {key: item for key, item in pairs}  # noqa: C416


def _read_delta(content: object, depth: int) -> Any:
    days, seconds, microseconds = _items(content)
    return datetime.timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _read_complex(content: object, depth: int) -> Any:
    real, imaginary = _read_list(content, depth)
    return complex(real, imaginary)


def _read_fraction(content: object, depth: int) -> Any:
    # Not from a text: "1e999999999" would be computed.
    numerator, denominator = _read_list(content, depth)
    return fractions.Fraction(numerator, denominator)


def _read_float(content: object, depth: int) -> Any:
    if content not in ("nan", "inf", "-inf"):
        raise PlainError("it is no float")
    return float(_text(content))


def _from_text(make: Callable[[str], Any]) -> Callable[[Any, int], Any]:
    return lambda content, depth: make(_text(content))


_WRITERS: dict[type[Any], Callable[[Any, int], Any]] = {
    str: _write_str,
    int: _write_int,
    float: _write_float,
    complex: _write_complex,
    bytes: lambda value, depth: _marked("bytes", _packed(value)),
    bytearray: lambda value, depth: _marked("bytearray", _packed(bytes(value))),
    list: _write_list,
    tuple: _listed("tuple"),
    set: _listed("set"),
    frozenset: _listed("frozenset"),
    dict: _write_dict,
    datetime.datetime: _iso("datetime"),
    datetime.date: _iso("date"),
    datetime.time: _iso("time"),
    datetime.timedelta: _write_delta,
    decimal.Decimal: _printed("decimal"),
    fractions.Fraction: _write_fraction,
    uuid.UUID: _printed("uuid"),
}

_READERS: dict[str, Callable[[Any, int], Any]] = {
    "str": lambda content, depth: _unpacked(content).decode("utf-8", "surrogatepass"),
    "int": _from_text(lambda text: int(text, 16)),
    "float": _read_float,
    "complex": _read_complex,
    "bytes": lambda content, depth: _unpacked(content),
    "bytearray": lambda content, depth: bytearray(_unpacked(content)),
    "tuple": lambda content, depth: tuple(_read_list(content, depth)),
    "set": lambda content, depth: set(_read_list(content, depth)),
    "frozenset": lambda content, depth: frozenset(_read_list(content, depth)),
    "dict": _read_dict,
    "datetime": _from_text(datetime.datetime.fromisoformat),
    "date": _from_text(datetime.date.fromisoformat),
    "time": _from_text(datetime.time.fromisoformat),
    "timedelta": _read_delta,
    "decimal": _from_text(decimal.Decimal),
    "fraction": _read_fraction,
    "uuid": _from_text(uuid.UUID),
}
