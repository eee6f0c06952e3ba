"""Which addresses the server connects to when users name them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["Network", "Targets"]

Network = IPv4Network | IPv6Network

_UNICAST_V6 = IPv6Network("2000::/3")  # RFC 4291: what IANA assigns to be reached from everywhere
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: IPv4 addresses within
_SPECIAL = [
    IPv4Network("192.0.0.0/24"),  # RFC 6890; Oracle's metadata service, among others
    IPv4Network("168.63.129.16/32"),  # Azure's
]
"""What is not, or only looks, public; some versions of Python do not know all of it."""


class Targets:
    """The addresses that may be connected to: public ones, and those that are allowed besides.

    Args:
        allowed: Networks to allow besides, whatever they are.
    """

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    def permits(self, text: str) -> bool:
        """Whether an address may be connected to."""
        address = ip_address(text)
        if isinstance(address, IPv6Address):
            inner = address.ipv4_mapped
            if inner is None and address in _NAT64:
                inner = IPv4Address(int(address) & 0xFFFFFFFF)
            if inner is not None:
                return self.permits(str(inner))
        if any(address.version == each.version and address in each for each in self._allowed):
            return True
        return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or not address.is_global:
        return False
    if isinstance(address, IPv6Address):
        # 6to4 (RFC 3056) leads to any IPv4 address.
        return address in _UNICAST_V6 and address.sixtofour is None
    return not any(address in network for network in _SPECIAL)
