"""Values as JSON, the questions to a Python kernel, and what a kernel is told at first."""

from __future__ import annotations

import ast
import collections
import datetime
import decimal
import enum
import fractions
import json
import logging
import math
import os
import random
import shlex
import shutil
import subprocess
import sys
import types
import uuid
from typing import Any

import pytest

from sandlot._inside import boot, display, exchange, plain
from sandlot._protocols import values
from sandlot._protocols.preparation import prepare
from sandlot.errors import (
    CodeFailedError,
    InvalidArgumentError,
    UnexpectedResponseError,
    UnsupportedError,
)
from sandlot.executions import Variable
from sandlot.tables import Table

BERLIN = datetime.timezone(datetime.timedelta(hours=1), "CET")
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53,
    2**53 + 1,
    -(2**64),
    1 << 20_000,
    1.5,
    -0.0,
    1e300,
    5e-324,
    math.inf,
    -math.inf,
    1 + 2j,
    complex(math.inf, 0),
    "",
    "é\n\0😀",
    "\ud800",
    b"",
    b"\0\xff",
    bytearray(b"x"),
    [],
    [1, [2, []]],
    (),
    (1,),
    {1, 2},
    set[int](),
    frozenset({"a"}),
    {},
    {"a": {"b": None}},
    {1: 2, None: 3, (1, 2): 4, 1.5: 5},
    {"$": "int", "v": 1},
    {"\ud800": 1},
    datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
    datetime.datetime(2024, 2, 29, tzinfo=BERLIN),
    datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
    datetime.date(9999, 12, 31),
    datetime.time(1, 2, 3, 4, tzinfo=datetime.UTC),
    datetime.timedelta(days=-1, seconds=5, microseconds=6),
    decimal.Decimal("1.10"),
    decimal.Decimal("1e999999"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    text = json.dumps(plain.encode(value), allow_nan=False)
    again = plain.decode(json.loads(text))
    assert again == value
    assert type(again) is type(value)
    if hasattr(value, "utcoffset"):
        assert again.utcoffset() == value.utcoffset()
    if not isinstance(value, int):
        assert str(again) == str(value)


def test_not_a_number_stays_none() -> None:
    assert math.isnan(plain.decode(plain.encode(math.nan)))
    assert plain.decode(plain.encode(decimal.Decimal("NaN"))).is_nan()


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "builtins.object is not"),
        (Colour.RED, "Colour is not"),
        (Text("a"), "Text is not"),
        (collections.OrderedDict(), "OrderedDict is not"),
        ({"a": [1, print]}, "builtin_function_or_method is not"),
        (LOOP, "contain themselves"),
        (range(3), "range is not"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(value: Any, said: str) -> None:
    with pytest.raises(plain.PlainError, match=said):
        _ = plain.encode(value)


HOSTILE: list[Any] = [
    {"$": "evil", "v": 1},
    {"$": 5, "v": 1},
    {"$": ["int"]},
    {"$": "int", "v": 5},
    {"$": "int", "v": "zz"},
    {"$": "int"},
    {"$": "str", "v": "????"},
    {"$": "str", "v": "gICA"},
    {"$": "float", "v": "1"},
    {"$": "float", "v": []},
    {"$": "complex", "v": [1]},
    {"$": "complex", "v": ["a", "b"]},
    {"$": "bytes", "v": "é"},
    {"$": "tuple", "v": 5},
    {"$": "set", "v": [[]]},
    {"$": "frozenset", "v": [{}]},
    {"$": "dict", "v": [[[], 1]]},
    {"$": "dict", "v": [[1, 2, 3]]},
    {"$": "dict", "v": {"a": 1}},
    {"$": "datetime", "v": "yesterday"},
    {"$": "datetime", "v": None},
    {"$": "timedelta", "v": [1e300, 0, 0]},
    {"$": "timedelta", "v": ["a", 0, 0]},
    {"$": "decimal", "v": "x"},
    {"$": "fraction", "v": [1, 0]},
    {"$": "fraction", "v": "1e999999999"},
    {"$": "uuid", "v": "x"},
    [1, {"a": {"$": "no"}}],
    object(),
]


@pytest.mark.parametrize(
    "data", HOSTILE, ids=lambda data: "object" if type(data) is object else f"{data!s:.40}"
)
def test_hostile_forms_are_refused(data: Any) -> None:
    with pytest.raises(plain.PlainError):
        _ = plain.decode(data)


def test_deep_forms_are_refused() -> None:
    for name in ("tuple", "dict", None):
        deep: Any = 1
        for _ in range(900):
            inner = [[1, deep]] if name == "dict" else [deep]
            deep = inner if name is None else {"$": name, "v": inner}
        with pytest.raises(plain.PlainError, match="deep"):
            _ = plain.decode(deep)


def test_as_deep_as_it_goes() -> None:
    for wrap in (lambda inner: [inner], lambda inner: {1: inner}, lambda inner: {"a": (inner,)}):
        deep: Any = 1
        while True:
            try:
                form = plain.encode(deep)
            except plain.PlainError:
                break
            assert plain.decode(form) == deep
            deep = wrap(deep)


def test_mutilated_forms_raise_nothing_else() -> None:
    chance = random.Random(7)
    texts = [json.dumps(plain.encode(value)) for value in VALUES]
    for _ in range(5000):
        text = list(chance.choice(texts)[:500])
        for _ in range(chance.randint(1, 4)):
            text[chance.randrange(len(text))] = chance.choice('0[]{}",:$vae')
        try:
            _ = exchange.read(exchange.parse('{"plain":' + "".join(text) + "}"))
        except plain.PlainError:
            continue


# Questions and answers


def answered(data: Any = None, **more: Any) -> dict[str, Any]:
    return {"sandlot": {"status": "ok", "data": {exchange.ANSWER: data}, **more}}


def test_questions_are_expressions() -> None:
    for question in (
        values.ask_variables(),
        values.ask_value("naïve"),
        values.ask_to_set("x", "'\"\n\\é"),
    ):
        (expression,) = question.values()
        assert expression.isascii()
        assert isinstance(ast.parse(expression, mode="eval").body, ast.Call)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "1", "a'); evil(", "\0", 5])
def test_names_that_are_none(name: Any) -> None:
    for ask in (values.ask_value, lambda name: values.ask_to_set(name, 1)):
        with pytest.raises(InvalidArgumentError):
            ask(name)


def test_values_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'x' cannot be sent: .*object is not a plain"):
        _ = values.ask_to_set("x", object())
    monkeypatch.setattr(exchange, "MAX_BYTES", 1 << 20)
    with pytest.raises(InvalidArgumentError, match="takes 2 MB as JSON, of at most 1; use a file"):
        _ = values.ask_to_set("x", "a" * (2 << 20))


def test_variables() -> None:
    listed = [{"name": "a", "type": "int", "shape": None, "text": "1"}]
    assert values.variables(answered(json.dumps(listed))) == [Variable("a", "int", None, "1")]
    listed[0]["shape"] = [2, 3]  # type: ignore[assignment]
    assert values.variables(answered(json.dumps(listed)))[0].shape == (2, 3)


def test_values() -> None:
    assert values.value(answered(exchange.write({1: (2,)}))) == {1: (2,)}
    table = {
        "columns": [],
        "rows": [],
        "index": [],
        "index_names": [],
        "total_rows": 0,
        "total_columns": 0,
    }
    assert isinstance(values.value(answered(json.dumps({"table": table}))), Table)
    values.done(answered("null"))


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"sandlot": 5},
        {"sandlot": {}},
        {"sandlot": {"status": "error"}},
        {"sandlot": {"status": "error", "ename": "E", "evalue": 5}},
        answered(),
        answered(5),
        answered("{"),
        answered("[" * 100_000),
        answered("[1]"),
        answered("[{}]"),
        answered('[{"name": 1, "type": "a", "shape": null, "text": "x"}]'),
        answered('[{"name": "a", "type": "a", "shape": [-1], "text": "x"}]'),
        answered('{"plain": {"$": 1}}'),
        answered('{"table": {}}'),
        answered("{}"),
        answered("1" * 5000),
    ],
    ids=lambda answers: f"{answers!s:.60}",
)
def test_hostile_answers(answers: Any) -> None:
    for read in (values.variables, values.value):
        with pytest.raises(UnexpectedResponseError):
            _ = read(answers)


def test_refusals_are_told() -> None:
    refused = {"status": "error", "ename": "NameError", "evalue": "there is no variable 'x'"}
    with pytest.raises(CodeFailedError, match="refused: there is no variable 'x'") as caught:
        _ = values.value({"sandlot": refused})
    assert caught.value.execution.error is not None
    assert caught.value.execution.error.name == "NameError"


def test_tables_need_pyarrow_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match="pyarrow"):
        _ = values.value(answered('{"frame": {}}'))


# What a kernel is told at first


def test_shells_are_told_with_quotes() -> None:
    env = {"A": "it's\n$HOME `x` \\", "_B1": ""}
    code = prepare("bash", "/tmp", env)
    done = subprocess.run(
        ["/bin/sh", "-c", f'{code}\nprintf "%s|%s|%s" "$A" "$_B1" "$PWD"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "it's\n$HOME `x` \\||/tmp"
    assert shlex.split(prepare("sh", "-x y", {})) == ["cd", "--", "-x y"]


def test_what_cannot_be_told() -> None:
    assert prepare("bash", None, {}) == ""
    assert prepare("ir", None, {}) == ""
    with pytest.raises(InvalidArgumentError, match="ir code"):
        _ = prepare("ir", "/", {})
    with pytest.raises(InvalidArgumentError, match="no variable of the name 'A-B'"):
        _ = prepare("bash", None, {"A-B": "x"})


def test_python_is_told_in_a_few_expressions() -> None:
    code = prepare("python", "/x'\né\ud800", {"A'": "\ud800\n'"})
    assert code.isascii()
    assert all(isinstance(line, ast.Expr) for line in ast.parse(code).body)
    assert len(code.splitlines()) == 3
    assert len(code) < 60_000


PROBE = """
import sys
inside = sys.modules["_sandlot_inside"]
for name in ("arrow", "charts", "display", "exchange", "frames", "shapes", "tables", "variables"):
    getattr(inside, name)
form = inside.plain.encode({1: (2.5, {3}, b"x", None)})
print(inside.plain.decode(form) == {1: (2.5, {3}, b"x", None)}, sorted(globals()))
"""


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_kernels_of_many_versions_understand_it(version: str) -> None:
    program = shutil.which(f"python{version}")
    if program is None:
        pytest.skip(f"there is no Python {version}")
    done = subprocess.run(
        [program, "-"],
        input=prepare("python", None, {}) + PROBE,
        capture_output=True,
        text=True,
    )
    if "pyenv" in done.stderr:  # a shim without a version behind it
        pytest.skip(f"there is no Python {version}")
    assert done.stderr == ""
    assert done.stdout.startswith("True")
    assert "sandlot" not in done.stdout


def test_the_sources_make_one_module(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    monkeypatch.delitem(sys.modules, boot.NAME, raising=False)
    exec(prepare("python", None, {}), namespace)
    inside = sys.modules[boot.NAME]
    try:
        assert set(namespace) == {"__builtins__"}
        exec(prepare("python", None, {}), namespace)
        assert sys.modules[boot.NAME] is inside
        assert inside.plain.encode((1,)) == {"$": "tuple", "v": [1]}
        assert inside.frames.plain is inside.plain
        with pytest.raises(AttributeError, match="nothing"):
            _ = inside.nothing
        monkeypatch.setattr(inside, "version", "older")
        exec(prepare("python", None, {}), namespace)
        assert sys.modules[boot.NAME] is not inside
    finally:
        del sys.modules[boot.NAME]


def test_an_ipython_unlike_all_others_shows_what_it_always_did(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Shell:
        log = logging.getLogger("ipython")

    core = types.ModuleType("IPython.core.getipython")
    monkeypatch.setattr(core, "get_ipython", Shell, raising=False)
    monkeypatch.setitem(sys.modules, core.__name__, core)
    monkeypatch.setenv("PLOTLY_RENDERER", "chosen")
    with caplog.at_level("DEBUG"):
        display.register()
    assert "not shown as data" in caplog.text
    assert os.environ["PLOTLY_RENDERER"] == "chosen"
