"""What importing the library does not do."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sandlot


def imported_by(code: str) -> set[str]:
    """Return the modules that are there after some code, in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_a_blocking_client_needs_neither_asyncio_nor_websockets() -> None:
    modules = imported_by("import sandlot; sandlot.Client('k', base_url='http://localhost:1')")
    assert "httpx" in modules
    lazy = {"asyncio", "websockets", "tomllib", "sandlot.local", "sandlot.cli", "sandlot.server"}
    assert not lazy & modules


def test_a_client_needs_no_models_before_its_first_call() -> None:
    modules = imported_by("import sandlot; sandlot.Client, sandlot.AsyncClient, sandlot.Sandbox")
    assert "sandlot.models" in modules
    assert not {"sandlot.models._generated", "pydantic.fields", "pydantic.main"} & modules


def test_the_models_need_no_http_client() -> None:
    modules = imported_by("import sandlot.models; sandlot.models.SandboxInfo")
    assert not {"httpx", "websockets", "ssl"} & modules


def test_the_package_alone_needs_nothing() -> None:
    assert not {"httpx", "pydantic"} & imported_by("import sandlot")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        _ = getattr(sandlot, "Cleint")  # noqa: B009


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert sandlot.__version__ == version("sandlot")
