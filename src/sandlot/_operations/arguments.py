"""Checks of what users pass, made before anything is sent."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeGuard

from ..errors import InvalidArgumentError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_KEY = re.compile(r"[A-Za-z0-9_:.-]{1,255}")
SHELL = "/bin/sh"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NUMBERED = re.compile(r"[a-z]+-([0-9a-z]{25})")
_LAST_PORT = 65535


def text(value: Any, name: str) -> str:
    """Check a text that the sandbox's kernel will see: NUL would cut it off there."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise InvalidArgumentError(f"{name} must not contain NUL")
    if not value.isascii():
        try:
            _ = value.encode()
        except UnicodeEncodeError as exc:
            raise InvalidArgumentError(f"{name} is not valid Unicode: {exc.reason}") from exc
    return value


def optional_text(value: Any, name: str) -> str | None:
    """Check a text that may be left out."""
    return None if value is None else filled_text(value, name)


def filled_text(value: Any, name: str) -> str:
    """Check a text that must not be empty: servers take an empty one for none at all."""
    return _filled(text(value, name), name)


def file_path(value: Any, name: str = "path") -> str:
    """Check the path of a file in a sandbox; bytes that are no UTF-8 are surrogates (PEP 383)."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} must be a str, not {type(value).__name__}")
    try:
        readable = value.encode(errors="surrogateescape").decode(errors="replace")
    except UnicodeEncodeError as exc:
        raise InvalidArgumentError(f"{name} is not valid Unicode: {exc.reason}") from exc
    _ = filled_text(readable, name)
    return value


def path_fields(value: Any, name: str = "path") -> dict[str, str]:
    """Return the field of a body that has a path: as text or, if it is none, in base64."""
    path = file_path(value, name)
    try:
        _ = path.encode()
    except UnicodeEncodeError:
        return {f"{name}_base64": b64encode(path.encode(errors="surrogateescape")).decode()}
    return {name: path}


def texts(value: Any, name: str) -> dict[str, str] | None:
    """Check a mapping of texts."""
    if value is None:
        return None
    if not _is_mapping(value):
        raise InvalidArgumentError(f"{name} must be a mapping, not {type(value).__name__}")
    return {
        _filled(text(key, f"a key of {name}"), f"a key of {name}"): text(item, f"{name}[{key!r}]")
        for key, item in value.items()
    }


def environment(value: Any) -> dict[str, str] | None:
    """Check environment variables."""
    variables = texts(value, "env")
    for name in variables or ():
        if "=" in name:
            raise InvalidArgumentError(f"env: a name cannot contain '=': {name!r}")
    return variables


def argv(cmd: Any, args: Any) -> list[str]:
    """Return the program and its arguments; a lone text is a line for the shell."""
    if isinstance(cmd, str):
        if not cmd.strip():
            raise InvalidArgumentError("cmd is empty")
        first = text(cmd, "cmd")
        return [SHELL, "-c", first] if args is None else [first, *_arguments(args, "args")]
    if args is not None:
        raise InvalidArgumentError("give the arguments either in the list cmd or in args")
    words = _arguments(cmd, "cmd")
    if not words or not words[0]:
        raise InvalidArgumentError("cmd is empty")
    return words


def optional_words(value: Any, name: str) -> list[str] | None:
    """Check a list of texts that may be left out."""
    return None if value is None else _arguments(value, name)


def seconds(value: Any, name: str, *, least: float = 0) -> float | None:
    """Check a time in seconds; whole ones become int, the only form old servers read."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgumentError(f"{name} must be a number, not {type(value).__name__}")
    if not math.isfinite(value) or value < least:
        raise InvalidArgumentError(f"{name} must be a finite number of at least {least:g} seconds")
    return int(value) if value == int(value) else value


def whole(value: Any, name: str) -> int | None:
    """Check a whole number that is not negative."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgumentError(f"{name} must be an int, not {type(value).__name__}")
    if value < 0:
        raise InvalidArgumentError(f"{name} must not be negative")
    return value


def day(value: Any, name: str) -> str | None:
    """Check a day; a time would leave open in which time zone."""
    if value is None:
        return None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise InvalidArgumentError(f"{name} must be a date, not {type(value).__name__}")
    return value.isoformat()


def sandbox_id(value: Any) -> str:
    """Check the id of a sandbox: anything a server may have made up, nothing hostile."""
    return identifier(value, "sandbox")


def identifier(value: Any, of: str) -> str:
    """Check an id: anything a server may have made up, nothing hostile."""
    if not isinstance(value, str) or not _ID.fullmatch(value) or _is_overlong(value):
        raise InvalidArgumentError(f"not the id of a {of}: {value!r:.200}")
    return value


def port(value: Any) -> int:
    """Check the number of a TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LAST_PORT:
        raise InvalidArgumentError(f"not a port: {value!r:.100}; ports are 1 to {_LAST_PORT}")
    return value


def source(value: Any) -> str:
    """Check code."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"code must be a str, not {type(value).__name__}")
    try:
        _ = value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgumentError(f"code is not valid Unicode: {exc.reason}") from exc
    return value


def language(value: Any) -> str:
    """Check the name of a language."""
    return filled_text(value, "language").strip().lower()


def kernel_id(value: Any) -> str:
    """Check the id of a context."""
    return identifier(value, "context")


def optional_name(value: Any) -> str | None:
    """Check a name for a sandbox, which may be left out."""
    if value is not None and (not isinstance(value, str) or not _NAME.fullmatch(value)):
        raise InvalidArgumentError(
            f"not a name: {value!r:.100}; names are 1 to 63 of A-Za-z0-9._-, and begin with a"
            " letter or digit"
        )
    return value


def idempotency_key(value: Any) -> str:
    """Check a key that names a request."""
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        raise InvalidArgumentError("idempotency_key must be 1 to 255 characters of A-Za-z0-9_:.-")
    return value


def signal_name(signal: Any) -> str:
    """Return the name of a signal given by name, with or without SIG, or by number."""
    import signal as signals  # needed only here

    try:
        if isinstance(signal, int):
            return signals.Signals(signal).name
        name = signal.upper()
        return signals.Signals[name if name.startswith("SIG") else f"SIG{name}"].name
    except (ValueError, KeyError, AttributeError) as exc:
        raise InvalidArgumentError(f"there is no signal {signal!r}") from exc


def without_none(**fields: Any) -> dict[str, Any]:
    """Return the fields of a body that are to be sent."""
    return {name: value for name, value in fields.items() if value is not None}


def _arguments(value: Any, name: str) -> list[str]:
    if not _is_sequence(value):
        raise InvalidArgumentError(f"{name} must be a list of str, not {type(value).__name__}")
    return [text(word, f"{name}[{index}]") for index, word in enumerate(value)]


def is_bytes(value: Any) -> TypeGuard[bytes | bytearray | memoryview[int]]:
    """Tell whether something is a piece of bytes."""
    return isinstance(value, bytes | bytearray | memoryview)


def is_stream(value: Any) -> bool:
    """Tell whether something can give pieces of bytes."""
    return isinstance(value, Iterable | AsyncIterable) and not isinstance(value, str | Mapping)


def _is_overlong(value: str) -> bool:
    """Tell whether an id is a number of more than 128 bits.

    Original servers hang up on those without an answer (wrenn: 1.4).
    """
    found = _NUMBERED.fullmatch(value)
    return found is not None and int(found[1], 36) >> 128 != 0


def _is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _filled(value: str, name: str) -> str:
    if not value:
        raise InvalidArgumentError(f"{name} is empty")
    return value
