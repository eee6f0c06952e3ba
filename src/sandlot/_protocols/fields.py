"""Fields of a JSON message, checked."""

from __future__ import annotations

from typing import Any


class Fields:
    """A JSON object that says what it lacks."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError("not an object")
        self._fields: dict[str, Any] = value

    def text(self, name: str) -> str:
        value = self.maybe_text(name)
        if value is None:
            raise ValueError(f"no {name}")
        return value

    def maybe_text(self, name: str) -> str | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is not a text")
        return value

    def whole(self, name: str) -> int:
        value = self._fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} is not a whole number")
        return value

    def maybe_whole(self, name: str) -> int | None:
        return self.whole(name) if self._fields.get(name) is not None else None

    def flag(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is not true or false")
        return value
