"""What the library asks a Python kernel, and what the answers mean.

A question is an expression that is evaluated after an empty, silent cell (`user_expressions`);
`preparation` has put there what evaluates it. The answers come out of a sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._inside import exchange, plain
from .._inside.boot import NAME
from .._json import a_count, a_list, a_text, an_object, is_object
from .._operations import arguments
from ..errors import (
    CodeFailedError,
    InvalidArgumentError,
    UnexpectedResponseError,
    UnsupportedError,
)
from ..executions import CodeError, Execution, Variable
from ..tables import Table

_KEY = "sandlot"
_MODULE = f"__import__('sys').modules['{NAME}']"


def ask_variables() -> dict[str, str]:
    """Return the question what variables there are."""
    return {_KEY: f"{_MODULE}.variables.answer()"}


def ask_value(name: str) -> dict[str, str]:
    """Return the question what value a variable has."""
    return {_KEY: f"{_MODULE}.exchange.get({_variable(name)!a})"}


def ask_to_set(name: str, value: object) -> dict[str, str]:
    """Return the order to give a variable a value.

    Raises:
        InvalidArgumentError: It is no value that can be sent.
    """
    try:
        text = exchange.write(value)
    except (plain.PlainError, ImportError) as exc:
        raise InvalidArgumentError(f"The value for {name!r} cannot be sent: {exc}") from exc
    return {_KEY: f"{_MODULE}.exchange.set({_variable(name)!a}, {text!a})"}


def variables(answers: Mapping[str, Any]) -> list[Variable]:
    """Read the answer to `ask_variables`."""
    text = _answer(answers)
    try:
        return [_listed(an_object(item)) for item in a_list(json.loads(text))]
    except (KeyError, ValueError, RecursionError) as exc:
        raise _malformed() from exc


def value(answers: Mapping[str, Any]) -> Any:
    """Read the answer to `ask_value`.

    Raises:
        CodeFailedError: There is no such variable, or its value is none that can be sent.
        UnsupportedError: This side lacks what is needed to read it.
    """
    try:
        form = exchange.parse(_answer(answers))
        if "table" not in form:
            return exchange.read(form)
        table = Table.parse(form["table"])
    except ImportError as exc:
        raise UnsupportedError(f"Tables need pyarrow on this side too: {exc}") from exc
    except plain.PlainError as exc:
        raise _malformed() from exc
    if table is None:
        raise _malformed()
    return table


def done(answers: Mapping[str, Any]) -> None:
    """Read the answer to `ask_to_set`.

    Raises:
        CodeFailedError: It was not done.
    """
    _ = _answer(answers)


def _variable(name: str) -> str:
    if not arguments.text(name, "name").isidentifier():
        raise InvalidArgumentError(f"{name!r:.100} is no name of a variable")
    return name


def _answer(answers: Mapping[str, Any]) -> str:
    answer = answers.get(_KEY)
    if not is_object(answer):
        raise _malformed()
    if answer.get("status") == "error":
        raise _refused(answer)
    data = answer.get("data")
    text = data.get(exchange.ANSWER) if is_object(data) else None
    if not isinstance(text, str):
        raise _malformed()
    return text


def _refused(answer: Mapping[str, Any]) -> CodeFailedError:
    name, said = answer.get("ename"), answer.get("evalue")
    if not isinstance(name, str) or not isinstance(said, str):
        raise _malformed()
    return CodeFailedError(
        f"The kernel refused: {said[:1000]}", execution=Execution(error=CodeError(name, said))
    )


def _listed(item: Mapping[str, Any]) -> Variable:
    shape = item["shape"]
    return Variable(
        a_text(item["name"]),
        a_text(item["type"]),
        None if shape is None else tuple(map(a_count, a_list(shape))),
        a_text(item["text"]),
    )


def _malformed() -> UnexpectedResponseError:
    return UnexpectedResponseError("The kernel's answer makes no sense", outcome="finished")
