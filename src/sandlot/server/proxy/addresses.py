"""Names of ports: `{port}-{sandbox_id}.` and any domain."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PortAddress", "find_address"]

_NAME = re.compile(rb"(\d+)-(cl-[0-9a-z]+)\.", re.IGNORECASE)
_INTERNAL = re.compile(
    rb"(?:http:)?//(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::(\d+))?(?=[/?#]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PortAddress:
    """What a request is addressed to; neither number nor id need be valid.

    Attributes:
        number: Digits.
        domain: What follows the id in the host header.
        host: The whole header.
    """

    number: str
    sandbox_id: str
    domain: bytes
    host: bytes

    def make_public(self, scheme: str, location: bytes) -> bytes:
        """Return a location as clients see it: a program names itself as it sees itself."""
        match = _INTERNAL.match(location)
        if match is None:
            return location
        name = f"{scheme}://{int(match[1] or 80)}-{self.sandbox_id}.".encode()
        return name + self.domain + location[match.end() :]


def find_address(headers: Iterable[tuple[bytes, bytes]]) -> PortAddress | None:
    """Return the port that the host header names, if it names one."""
    for name, value in headers:
        if name == b"host":
            match = _NAME.match(value)
            if match is None:
                return None
            number, sandbox_id = match[1].decode(), match[2].decode().lower()
            return PortAddress(number, sandbox_id, value[match.end() :], value)
    return None
