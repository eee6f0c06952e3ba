"""Connections of webhooks: what is looked up, judged and connected to is one and the same."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the receiver

from receiver import HERE, Receiver

from sandlot import webhooks as receiving
from sandlot.server.outgoing import resolving
from sandlot.server.outgoing.failures import NotDeliveredError
from sandlot.server.outgoing.targets import Targets
from sandlot.server.outgoing.webhooks import Webhooks

ALLOWED = Targets([ip_network(f"{HERE}/32")])
PAYLOAD = '{"event":"e","timestamp":"2026-11-01T09:30:00Z","team_id":"t","actor":{"type":"system"}'
PAYLOAD += ',"resource":{"id":"r","type":"sandbox"}}'


class Names:
    """A name server of a test: what it says may change from one question to the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[Sequence[str]] = []
        self.asked = 0
        monkeypatch.setattr(resolving.socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, type: int = 0) -> list[object]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if not answer:
            raise socket.gaierror(-2, "unknown")
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in answer]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def send(url: str, targets: Targets = ALLOWED, timeout: float = 5) -> int:
    return asyncio.run(Webhooks(targets, timeout).send(url, "s" * 16, "id", PAYLOAD))


def test_a_name_is_looked_up_once_and_that_address_is_connected_to(
    names: Names, receiver: Receiver
) -> None:
    names.answers = [[HERE], ["127.0.0.1"]]  # harmless when judged, hostile afterwards
    assert send(f"http://rebinding.example:{receiver.port}/a") == 204
    assert names.asked == 1
    (came,) = receiver.received
    assert came.headers["host"] == f"rebinding.example:{receiver.port}"
    assert receiving.verify(came.body, came.headers, "s" * 16).name == "e"


def test_names_that_mean_this_machine_are_refused(names: Names) -> None:
    forbidden = Receiver("127.0.0.1")
    try:
        for answer in (["127.0.0.1"], ["127.0.0.1", "10.0.0.1", "::1", "169.254.169.254"]):
            names.answers = [answer]
            with pytest.raises(NotDeliveredError, match="may connect") as caught:
                send(f"http://innocent.example:{forbidden.port}/")
            assert caught.value.final
        assert forbidden.received == []
    finally:
        forbidden.close()


def test_only_permitted_addresses_of_a_name_are_tried(names: Names, receiver: Receiver) -> None:
    names.answers = [["127.0.0.1", "10.0.0.1", HERE]]
    assert send(f"http://mixed.example:{receiver.port}/") == 204


def test_unknown_names_may_become_known(names: Names) -> None:
    names.answers = [[]]
    with pytest.raises(NotDeliveredError, match="cannot be resolved") as caught:
        send("http://unknown.example/")
    assert not caught.value.final


def test_lookups_that_hang_hold_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    let_go = threading.Event()
    monkeypatch.setattr(resolving.socket, "getaddrinfo", lambda *_, **__: let_go.wait() and [])
    try:
        with pytest.raises(NotDeliveredError, match="no answer within"):
            send("http://slow.example/", timeout=0.1)
    finally:
        let_go.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for `hooks.example`, which whoever trusts it can check."""
    place = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.example"
    names = ["-addext", "subjectAltName=DNS:hooks.example"]
    files = ["-keyout", str(place / "key"), "-out", str(place / "cert")]
    try:
        _ = subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    both = place / "both"
    _ = both.write_bytes((place / "key").read_bytes() + (place / "cert").read_bytes())
    return both


def test_certificates_are_those_of_the_name(
    names: Names, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.answers = [[HERE]]
    receiver = Receiver(certificate=certificate)
    try:
        with pytest.raises(NotDeliveredError, match="certificate"):
            send(f"https://hooks.example:{receiver.port}/")
        monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(certificate))
        assert send(f"https://hooks.example:{receiver.port}/") == 204
        with pytest.raises(NotDeliveredError, match="certificate"):
            send(f"https://other.example:{receiver.port}/")
        assert len(receiver.received) == 1
    finally:
        receiver.close()
