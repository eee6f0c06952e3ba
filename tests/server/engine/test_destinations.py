"""Where sandboxes may connect to."""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_network

import pytest

from sandlot.server.engine.local import destinations
from sandlot.server.engine.local.destinations import Destinations

from .outside import own_address

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks Linux for routes")
EVERYTHING = [ip_network("0.0.0.0/0"), ip_network("::/0")]


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all addresses be those of other machines that can be reached."""
    monkeypatch.setattr(destinations, "_route_type", lambda _: 1)


PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "2606:4700:4700::1111", "2a00:1450::1"]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.8",
    "168.63.129.16",
    "203.0.113.1",
    "fd00:ec2::254",
    "fc00::1",
    "fec0::1",  # once site-local
    "2001:db8::1",
    "2002:a00:1::1",  # 10.0.0.1 by 6to4
    "64:ff9b::a00:1",  # 10.0.0.1 by NAT64
    "2001:0:a00:1::1",  # by Teredo
]
NEVER = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "ff02::1",
    "::ffff:1.1.1.1",
    "::ffff:127.0.0.1",
]


@pytest.mark.usefixtures("routed")
@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert Destinations().permit(address)


@pytest.mark.usefixtures("routed")
@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert not Destinations().permit(address)
    assert Destinations(EVERYTHING).permit(address)
    assert Destinations([ip_network(address)]).permit(address)


@pytest.mark.usefixtures("routed")
@pytest.mark.parametrize("address", NEVER)
def test_never(address: str) -> None:
    assert not Destinations(EVERYTHING).permit(address)
    assert not Destinations([ip_network(address)]).permit(address)


@pytest.mark.usefixtures("routed")
def test_networks() -> None:
    some = Destinations([ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")])
    assert some.permit("10.1.255.255")
    assert some.permit("fd00:1::1")
    assert some.permit("1.1.1.1")
    assert not some.permit("10.2.0.0")
    assert not some.permit("fd00:2::1")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_addresses_of_this_machine(family: int) -> None:
    address = own_address(family)
    if address is None:
        pytest.skip("there is none")
    assert not Destinations(EVERYTHING).permit(address)
    assert Destinations([ip_network(address)]).permit(address)


@pytest.mark.parametrize("kind", [2, 3, 5, 6, 7, 8, None])
def test_routes_that_lead_to_nobody_else(monkeypatch: pytest.MonkeyPatch, kind: int | None) -> None:
    """Local, broadcast, multicast, blackhole, unreachable, prohibited; and none at all."""
    monkeypatch.setattr(destinations, "_route_type", lambda _: kind)
    assert not Destinations(EVERYTHING).permit("1.1.1.1")


def test_a_kernel_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(destinations.netlink, "open_netlink", refuse)
    assert not Destinations(EVERYTHING).permit("1.1.1.1")
