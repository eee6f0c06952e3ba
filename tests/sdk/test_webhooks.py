"""Checking webhook requests."""

from __future__ import annotations

import hashlib
import hmac
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandlot import webhooks
from sandlot.errors import InvalidArgumentError, SandlotError
from sandlot.webhooks import EventActor, EventResource, WebhookError, verify

SECRET = "a secret of some length"
BODY = (
    b'{"event":"capsule.created","timestamp":"2026-11-01T09:30:00Z","team_id":"team-1",'
    b'"actor":{"type":"user","id":"usr-1","name":"Ada"},'
    b'"resource":{"id":"cl-1","type":"sandbox"},"later":[1]}'
)


def signed(body: bytes = BODY, secret: str = SECRET, *, age: float = 0) -> dict[str, str]:
    """Sign as the contract describes it, without the code under test."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    timestamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return {
        "X-WRENN-SIGNATURE": f"sha256={digest.hexdigest()}",
        "X-Wrenn-Timestamp": timestamp,
        "X-Wrenn-Delivery": "0e0f4a1c-3a52-4f3e-9d51-4b8a0f1f7a10",
    }


def test_an_event_is_read() -> None:
    event = verify(BODY, signed(), SECRET)
    assert event.name == "capsule.created"
    assert event.time == datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
    assert event.team_id == "team-1"
    assert event.actor == EventActor("user", "usr-1", "Ada")
    assert event.resource == EventResource("sandbox", "cl-1")
    assert event.delivery_id == "0e0f4a1c-3a52-4f3e-9d51-4b8a0f1f7a10"
    assert event.data["later"] == [1]


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_the_spelling_of_headers_does_not_matter(spell: Any) -> None:
    headers = {spell(name): value for name, value in signed().items()}
    assert verify(bytearray(BODY), headers, SECRET).team_id == "team-1"


@pytest.mark.parametrize("age", [301, 86400, -301])
def test_what_is_old_is_refused(age: float) -> None:
    with pytest.raises(WebhookError, match="within 300 seconds"):
        verify(BODY, signed(age=age), SECRET)
    assert verify(BODY, signed(age=age), SECRET, tolerance=100_000).name == "capsule.created"


@pytest.mark.parametrize(
    "changes",
    [
        {"X-WRENN-SIGNATURE": ""},
        {"X-WRENN-SIGNATURE": "sha256="},
        {"X-WRENN-SIGNATURE": "sha256=" + "0" * 64},
        {"X-WRENN-SIGNATURE": "sha256=ü\ud800"},
        {"X-Wrenn-Timestamp": "2020-01-01T00:00:00Z"},
        {"X-Wrenn-Timestamp": ""},
        {"X-Wrenn-Timestamp": "\ud800"},
    ],
)
def test_forged_headers_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(WebhookError, match="signature"):
        verify(BODY, {**signed(), **changes}, SECRET)
    with pytest.raises(WebhookError):
        verify(BODY, {}, SECRET)


def test_other_bodies_and_secrets_are_refused() -> None:
    for body, secret in ((BODY + b" ", SECRET), (BODY, SECRET + "x"), (b"", SECRET)):
        with pytest.raises(WebhookError, match="signature"):
            verify(body, signed(), secret)


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-11-01T09:30:00", "1" * 30, "-5"])
def test_signed_nonsense_for_a_time_is_refused(timestamp: str) -> None:
    digest = hmac.new(SECRET.encode(), timestamp.encode() + b"." + BODY, hashlib.sha256)
    headers = {
        "X-WRENN-SIGNATURE": f"sha256={digest.hexdigest()}",
        "X-Wrenn-Timestamp": timestamp,
    }
    with pytest.raises(WebhookError, match="within"):
        verify(BODY, headers, SECRET)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b"\xff", b"{}", BODY.replace(b'"actor":{', b'"other":{')],
)
def test_signed_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookError, match="body"):
        verify(body, signed(body), SECRET)


def test_what_cannot_be_right_is_said_at_once() -> None:
    body: Any = BODY.decode()
    with pytest.raises(InvalidArgumentError, match="bytes"):
        verify(body, signed(), SECRET)
    with pytest.raises(InvalidArgumentError, match="secret is empty"):
        verify(BODY, signed(secret=""), "")


def test_refusals_say_nothing_secret_and_are_what_people_catch() -> None:
    with pytest.raises(WebhookError) as caught:
        verify(BODY, {}, SECRET)
    assert isinstance(caught.value, SandlotError)
    assert isinstance(caught.value, ValueError)
    assert SECRET not in str(caught.value)


def test_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(webhooks.hmac, "compare_digest", lambda *pair: compared.append(pair))
    with pytest.raises(WebhookError):  # whatever `compare_digest` says is what counts
        verify(BODY, signed(), SECRET)
    ((ours, theirs),) = compared
    assert ours == theirs


def test_receivers_need_neither_client_nor_models() -> None:
    program = (
        "import sys, sandlot.webhooks;"
        "print({'httpx', 'pydantic', 'websockets'} & set(sys.modules) or 'none')"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout.strip() == "none"


def test_the_document_shows_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "channels.md").read_text()
    _, receiving = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"SECRET": SECRET, "seen": set[str]()}
    exec(receiving, names)
    assert [names["handle"](BODY, signed()) for _ in range(2)] == [204, 204]
    assert names["handle"](BODY, signed(secret="another")) == 400
    assert capsys.readouterr().out == "capsule.created cl-1 user\n"
