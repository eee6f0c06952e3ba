"""Names, addresses and passwords that people choose.

Lengths are counted as they are sent. What is refused here, the contract says too, in patterns.
"""

from __future__ import annotations

import re

from sandlot.server.texts import is_printable, is_text, is_word, trimmed

from .errors import InvalidRequestError

__all__ = [
    "channel_name",
    "check_text",
    "email_prefix",
    "key_name",
    "own_team_name",
    "password",
    "sandbox_name",
    "team_name",
    "template_name",
    "user_email",
    "user_name",
]

_TEAM_NAME = re.compile(r"[A-Za-z0-9 _\-@']+")
_CHANNEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_EMAIL = 254
_MAX_NAME = 100
_MAX_TEAM_NAME = 128
_MAX_KEY_NAME = 128
_MAX_CHANNEL_NAME = 64
_MAX_SANDBOX_NAME = 63
_MAX_TEMPLATE_NAME = 64
_PASSWORD = range(8, 1025)


def user_email(text: str) -> str:
    """Return an address as it is stored: addresses that differ in case only are the same."""
    email = trimmed(text).lower()
    local, at, domain = email.rpartition("@")
    if not (at and local and domain) or len(text) > _MAX_EMAIL or not is_word(email):
        raise InvalidRequestError("email: must be an address such as ada@example.org.")
    return email


def email_prefix(text: str) -> str:
    """Return the beginning of an address that is looked for."""
    if not 3 <= len(text) <= _MAX_EMAIL or "@" not in text or not is_word(text):
        raise InvalidRequestError("email: must have at least 3 characters, an @ among them.")
    return text.lower()


def user_name(text: str) -> str:
    """Return the name of a user."""
    name = trimmed(text)
    if len(text) > _MAX_NAME or not is_word(name[:1]) or not is_printable(name):
        raise InvalidRequestError(f"name: must be 1 to {_MAX_NAME} characters of printable text.")
    return name


def password(text: str) -> str:
    """Check a password that is to be set."""
    if len(text) not in _PASSWORD or not is_text(text):
        raise InvalidRequestError(
            f"password: must be {_PASSWORD[0]} to {_PASSWORD[-1]} characters, without NUL."
        )
    return text


def team_name(text: str) -> str:
    """Return the name of a team."""
    name = trimmed(text)
    if len(text) > _MAX_TEAM_NAME or not _TEAM_NAME.fullmatch(name):
        raise InvalidRequestError(
            f"name: must be 1 to {_MAX_TEAM_NAME} characters of A-Z a-z 0-9 space _ - @ and"
            " apostrophe."
        )
    return name


def own_team_name(user: str) -> str:
    """Return the name of the first team of a user."""
    return f"{user}'s Team"


def key_name(text: str | None) -> str:
    """Return the name of an API key."""
    name = trimmed(text or "") or "Unnamed API Key"
    if len(text or "") > _MAX_KEY_NAME or not is_printable(name):
        raise InvalidRequestError(
            f"name: must be at most {_MAX_KEY_NAME} characters of printable text."
        )
    return name


def channel_name(text: str) -> str:
    """Return the name of a channel, as the original protocol writes it."""
    name = trimmed(text)
    if len(text) > _MAX_CHANNEL_NAME or not _CHANNEL_NAME.fullmatch(name):
        raise InvalidRequestError(
            f"name: must be 1-{_MAX_CHANNEL_NAME} letters, digits and . _ - and begin with a letter"
            " or digit."
        )
    return name.lower().replace(" ", "-")


def check_text(field: str, *texts: str | None) -> None:
    """Check that texts of a request can be kept.

    Raises:
        InvalidRequestError: They cannot.
    """
    if any(text is not None and not is_text(text) for text in texts):
        raise InvalidRequestError(f"{field}: must not contain NUL characters.")


def sandbox_name(text: str) -> str:
    """Check the name of a sandbox."""
    return _plain_name(text, _MAX_SANDBOX_NAME)


def template_name(text: str) -> str:
    """Check the name of a template or snapshot."""
    return _plain_name(text, _MAX_TEMPLATE_NAME)


def _plain_name(text: str, longest: int) -> str:
    if len(text) > longest or not _PLAIN_NAME.fullmatch(text):
        raise InvalidRequestError(
            f"name: must be 1-{longest} characters of A-Z a-z 0-9 . _ - and begin with a letter or"
            " digit."
        )
    return text
