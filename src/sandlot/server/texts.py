"""What texts may consist of that people choose, as the contract says it in patterns."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_base64", "is_printable", "is_text", "is_word", "trimmed"]

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_SPACE: Final = r" \xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_LONE: Final = r"\ud800-\udfff"  # halves of characters, which no JSON can tell of
_TEXT = re.compile(rf"[^\x00{_LONE}]*")
_PRINTABLE = re.compile(rf"[^{_CONTROL}{_LONE}]*")
_BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_WORD = re.compile(rf"[^{_CONTROL}{_SPACE}{_LONE}]+")


def trimmed(text: str) -> str:
    """Return a text without the blanks around it that come with pasting."""
    return text.strip(" \t\r\n")


def is_text(text: str) -> bool:
    """Tell whether all of a text can be kept: databases and kernels take no NUL."""
    return _TEXT.fullmatch(text) is not None


def is_base64(text: str) -> bool:
    """Tell whether a text is base64; what is decoded leniently differs between Pythons."""
    return _BASE64.fullmatch(text) is not None


def is_printable(text: str) -> bool:
    """Tell whether a text is one line without control characters."""
    return _PRINTABLE.fullmatch(text) is not None


def is_word(text: str) -> bool:
    """Tell whether a text is printable and not empty, without spaces of any kind."""
    return _WORD.fullmatch(text) is not None
