"""What parsed JSON is, checked where it comes from strangers."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Say if it is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Say if it is a list."""
    return isinstance(value, list)


def an_object(value: object, name: str = "value") -> dict[str, Any]:
    """Return an object; a ValueError if it is none."""
    if not is_object(value):
        raise ValueError(f"{name} is no object")
    return value


def a_list(value: object, name: str = "value") -> list[Any]:
    """Return a list; a ValueError if it is none."""
    if not is_list(value):
        raise ValueError(f"{name} is no list")
    return value


def a_text(value: object, name: str = "value") -> str:
    """Return a text; a ValueError if it is none."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def a_count(value: object, name: str = "value") -> int:
    """Return how many there are of something; a ValueError if it is no such number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is no number of things")
    return value
