"""What notebooks show of sandboxes and lists of them."""

from __future__ import annotations

from typing import Any

from sandlot.models import SandboxInfo
from sandlot.resources.pages import Page
from sandlot.sandbox._seen import Seen
from tests.sdk.toy import INFO


def seen(**changes: Any) -> Seen:
    return Seen(SandboxInfo.model_validate({**INFO, **changes}), owned=False)


def test_a_sandbox() -> None:
    shown = seen(name="<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    for word in (INFO["id"], "running", "minimal", "512 MiB", "2026-01-01"):
        assert word in shown


def test_a_list() -> None:
    def fetch(_: str) -> Page[Seen]:
        raise AssertionError

    page = Page(([seen(), seen(status="paused")], None), fetch)
    shown = page._repr_html_()
    assert shown is not None
    assert shown.count("<tr>") == 3
    assert "paused" in shown
    assert Page[Seen](([], None), fetch)._repr_html_() is None
