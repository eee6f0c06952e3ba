"""Names, addresses and passwords that people choose."""

from __future__ import annotations

import re
import unicodedata

from .errors import InvalidRequestError

__all__ = [
    "email_prefix",
    "key_name",
    "own_team_name",
    "password",
    "team_name",
    "user_email",
    "user_name",
]

_TEAM_NAME = re.compile(r"[A-Za-z0-9 _\-@']{1,128}")
_MAX_EMAIL = 254
_MAX_NAME = 100
_MAX_KEY_NAME = 128
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_PASSWORD = range(8, 1025)


def user_email(text: str) -> str:
    """Return an address as it is stored: addresses that differ in case only are the same."""
    email = text.strip().lower()
    local, at, domain = email.rpartition("@")
    if not (at and local and domain) or len(email) > _MAX_EMAIL or not _is_one_word(email):
        raise InvalidRequestError("email: must be an address such as ada@example.org.")
    return email


def email_prefix(text: str) -> str:
    """Return the beginning of an address that is looked for."""
    prefix = text.strip().lower()
    if len(prefix) < 3 or "@" not in prefix or len(prefix) > _MAX_EMAIL or not _is_one_word(prefix):
        raise InvalidRequestError("email: must have at least 3 characters, an @ among them.")
    return prefix


def user_name(text: str) -> str:
    """Return the name of a user."""
    name = text.strip()
    if not 1 <= len(name.encode(errors="replace")) <= _MAX_NAME or not _is_printable(name):
        raise InvalidRequestError(f"name: must be 1 to {_MAX_NAME} bytes of printable text.")
    return name


def password(text: str) -> str:
    """Check a password that is to be set."""
    if len(text.encode(errors="replace")) not in _PASSWORD or not _is_text(text):
        raise InvalidRequestError(
            f"password: must be {_PASSWORD[0]} to {_PASSWORD[-1]} bytes of text."
        )
    return text


def team_name(text: str) -> str:
    """Return the name of a team."""
    name = text.strip()
    if not _TEAM_NAME.fullmatch(name):
        raise InvalidRequestError(
            "name: must be 1 to 128 characters of A-Z a-z 0-9 space _ - @ and apostrophe."
        )
    return name


def own_team_name(user: str) -> str:
    """Return the name of the first team of a user."""
    return f"{user}'s Team"


def key_name(text: str | None) -> str:
    """Return the name of an API key."""
    name = (text or "").strip() or "Unnamed API Key"
    if len(name) > _MAX_KEY_NAME or not _is_printable(name):
        raise InvalidRequestError(
            f"name: must be at most {_MAX_KEY_NAME} characters of printable text."
        )
    return name


def _is_one_word(text: str) -> bool:
    return _is_printable(text) and not any(character.isspace() for character in text)


def _is_printable(text: str) -> bool:
    return not any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text
    )


def _is_text(text: str) -> bool:
    return not any(unicodedata.category(character) == "Cs" for character in text)
