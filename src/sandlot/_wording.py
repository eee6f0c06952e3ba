"""What the messages of errors say."""

from __future__ import annotations

__all__ = ["explained", "last_line"]

_HINTS: dict[str, str] = {
    "unauthorized": "check the credential; some calls need a token instead of an API key",
}


def explained(message: str, code: str, status: int, outcome: str, request_id: str | None) -> str:
    """Return the message of an error that a server answered with."""
    parts = [f"{message} ({status} {code})"]
    if outcome == "unknown":
        parts.append("it may have taken effect")
    if (hint := _HINTS.get(code)) and not request_id:
        parts.append(hint)  # original servers, which name no requests, do not say what to do
    if request_id:
        parts.append(f"request {request_id}")
    return "; ".join(parts)


def last_line(text: str) -> str:
    """Return the end of an output, for a message."""
    lines = text.strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""
