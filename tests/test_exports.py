"""What is public is complete, sorted, and what it claims to be."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import sandlot
from sandlot import errors, events, executions, models, results

PUBLIC = [
    "charts",
    "client",
    "config",
    "errors",
    "events",
    "executions",
    "models",
    "results",
    "sandbox",
    "tables",
    "webhooks",
]


def exported(module: ModuleType) -> list[str]:
    names: list[str] = module.__all__
    return names


def everything() -> list[ModuleType]:
    names = [entry.name for entry in pkgutil.walk_packages(sandlot.__path__, "sandlot.")]
    ours = [name for name in names if not name.startswith(("sandlot.server", "sandlot.cli"))]
    return [sandlot, *map(importlib.import_module, ours)]


@pytest.mark.parametrize("module", everything(), ids=lambda module: module.__name__)
def test_all_is_sorted_and_exists(module: ModuleType) -> None:
    names = getattr(module, "__all__", [])
    assert names == sorted(set(names))
    for name in names:
        assert hasattr(module, name)


def test_all_of_it_can_be_had_from_the_package() -> None:
    for module in (errors, events, executions, results):
        assert set(exported(module)) <= set(exported(sandlot))
    for name in exported(sandlot):
        _ = getattr(sandlot, name)
    assert dir(sandlot) == exported(sandlot)


def test_what_type_checkers_see_is_what_there_is() -> None:
    source = inspect.getsource(sandlot)
    seen = source[source.index("if TYPE_CHECKING:") : source.index("__all__")]
    listed = {name for name in exported(sandlot) if name != "__version__"}
    assert {word.strip(" ,()") for word in seen.split()} >= listed
    homes = {name for names in sandlot._HOMES.values() for name in names} | set(exported(errors))
    assert homes == listed


@pytest.mark.parametrize("name", PUBLIC)
def test_public_modules_hide_nothing_public(name: str) -> None:
    module = importlib.import_module(f"sandlot.{name}")
    own = {
        item
        for item, value in vars(module).items()
        if not item.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }
    assert own <= set(exported(module))


def test_every_model_of_the_contract_is_listed() -> None:
    generated = importlib.import_module("sandlot.models._generated")
    classes = {
        name
        for name, value in vars(generated).items()
        if inspect.isclass(value) and issubclass(value, models.Model) and value is not models.Model
    }
    assert classes <= set(exported(models))


@pytest.mark.parametrize("name", exported(sandlot))
def test_everything_public_is_documented(name: str) -> None:
    value = getattr(sandlot, name)
    if not inspect.isclass(value):
        return
    assert inspect.getdoc(value)
    for member, thing in vars(value).items():
        if not member.startswith("_") and (
            inspect.isfunction(thing) or isinstance(thing, property)
        ):
            assert inspect.getdoc(thing), f"{name}.{member}"


@pytest.mark.parametrize(
    "name", ["Client", "AsyncClient", "Sandbox", "AsyncSandbox", "ExecStream", "AsyncExecStream"]
)
def test_signatures_mention_no_library(name: str) -> None:
    kind = getattr(sandlot, name)
    for member, thing in inspect.getmembers(kind, inspect.isfunction):
        if member == "proxy":
            continue  # it is for users of httpx
        if not member.startswith("_") or member == "__init__":
            shown = str(inspect.signature(thing))
            assert "httpx" not in shown, f"{name}.{member}"
            assert "websockets" not in shown, f"{name}.{member}"
