"""Every public method, in both colours, against the double: it works, or fails as documented."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from sandlot import Client, Sandbox
from sandlot.sandbox.code import Code
from sandlot.sandbox.contexts import CodeContext
from sandlot.sandbox.files import Files
from sandlot.sandbox.streams import ExecStream
from tests.compat.rows import Fails, Row, Works
from tests.compat.tables import ROWS, later
from tests.compat.tenants import Tenant

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
ELSEWHERE = {
    # About this side of the wire, whatever server there is.
    "client.base_url",
    "client.close",
    "client.from_env",
    "client.local",
    "context.id",
    "context.language",
    "context.seen",
    "context.state",
    "sandbox.is_destroyed",
    "sandbox.isolation",
    "sandbox.metadata",
    "sandbox.name",
    "sandbox.status",
    "sandbox.template",
    "stream.pid",
    # About what runs inside of kernels (tests/live/test_code.py).
    "context.get",
    "context.set",
    "context.variables",
}


def public() -> set[str]:
    """Return the names of all public methods."""
    client = Client("wrn_x", base_url="http://localhost")
    owners: dict[str, type] = {
        "client": Client,
        "sandbox": Sandbox,
        "code": Code,
        "context": CodeContext,
        "files": Files,
        "stream": ExecStream,
    }
    for name, value in vars(client).items():
        if not name.startswith("_"):
            owners[name] = type(value)
    found: set[str] = set()
    for owner, kind in owners.items():
        for name, member in inspect.getmembers(kind):
            if not name.startswith("_") and (
                inspect.isroutine(member) or isinstance(member, property)
            ):
                found.add(f"{owner}.{name}")
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
async def test_a_method(row: Row, tenant: Tenant) -> None:
    async with tenant.here():
        await row.perform(tenant)


@pytest.mark.parametrize("row", later.ROWS, ids=lambda row: row.name.replace(" ", "-"))
async def test_a_method_of_a_later_server(row: Row, later_tenant: Tenant) -> None:
    async with later_tenant.here():
        await row.perform(later_tenant)


def test_every_public_method_is_in_a_table() -> None:
    told = {name for row in ROWS for name in row.methods.split()}
    assert public() - ELSEWHERE - told == set()
    assert told - public() == set()


def test_names_of_rows_tell_them_apart() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


def test_the_document_names_every_method() -> None:
    text = DOCUMENT.read_text()
    told = {name for row in ROWS for name in row.methods.split() if isinstance(row, Works | Fails)}
    assert {name for name in told if f"`{name}`" not in text} == set()
