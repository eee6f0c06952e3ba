"""Which addresses may be connected to, and what URLs mean."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sandlot.server.outgoing.failures import BadConfigError
from sandlot.server.outgoing.targets import Targets
from sandlot.server.outgoing.urls import Url, parse_url


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.255", "0.0.0.0", "::", "::1", "::127.0.0.1"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1", "fec0::1"),
        *("169.254.169.254", "fe80::1", "fe80::1%eth0", "100.64.0.1", "100.100.100.200"),
        *("168.63.129.16", "fd00:ec2::254", "192.0.0.192"),
        *("224.0.0.1", "239.1.2.3", "ff02::1", "255.255.255.255", "240.0.0.1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("2002:7f00:1::", "2001::1", "2001:db8::1", "198.18.0.1", "203.0.113.1"),
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not Targets().permits(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_public_is_permitted(address: str) -> None:
    assert Targets().permits(address)


def test_networks_can_be_allowed() -> None:
    targets = Targets([ip_network("10.1.0.0/16"), ip_network("fd00::/8")])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "1.1.1.1"):
        assert targets.permits(address)
    for address in ("10.2.0.1", "127.0.0.1", "::1"):
        assert not targets.permits(address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com", Url("https", "example.com", 443, "/")),
        ("http://Example.com:8080/a?b=c", Url("http", "example.com", 8080, "/a?b=c")),
        ("http://[2606:4700::1111]/", Url("http", "2606:4700::1111", 80, "/")),
        ("http://1.1.1.1/%0d%0a", Url("http", "1.1.1.1", 80, "/%0d%0a")),
    ],
)
def test_urls_are_taken_apart(text: str, expected: Url) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.com", "//example.com", "https:example.com", "https://", "http://:80/"),
        *("ftp://a", "file:///etc/passwd", "javascript:alert(1)", "gopher://a/"),
        *("http://a b/", "http://a\t/", "http://a\r\nb/", "http://a\x00/", "http://ü/"),
        *("http://u@a/", "http://u:p@a/", "http://a/#f", "http://a#", "http://a\\b/"),
        *("http://a:0/", "http://a:65536/", "http://a:x/", "http://a:-1/"),
        *("http://[::1", "http://[1.2.3.4]/", "http://[fe80::1%25a]/", "http://a%41/"),
        "http://a/" + "x" * 2048,
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(BadConfigError):
        parse_url(text)


def test_urls_do_not_show_what_may_be_secret() -> None:
    assert "token" not in repr(parse_url("https://example.com/hooks/token"))
