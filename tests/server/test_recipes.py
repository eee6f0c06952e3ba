"""Recipes, read strictly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.instructions import (
    Copy,
    Env,
    Healthcheck,
    Run,
    StartProgram,
    User,
    Workdir,
    parse_healthcheck,
    parse_recipe,
)

HOME = {"HOME": "/home/user", "A": "1"}


def value(text: str) -> str:
    (instruction,) = parse_recipe([f"ENV X={text}"])
    assert isinstance(instruction, Env)
    assert instruction.name == "X"
    return instruction.value.expand(HOME)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a=b", "a=b"),
        ("grüße", "grüße"),
        ('"two words"', "two words"),
        ("'two words'", "two words"),
        ('"it\'s"', "it's"),
        ('"say \\"hi\\""', 'say "hi"'),
        ("'$HOME'", "$HOME"),
        ('"$HOME/x"', "/home/user/x"),
        ("${HOME}x", "/home/userx"),
        ("$HOMEx", ""),
        ("$A$A", "11"),
        ("$$A", "$A"),
        ("cost-$5", "cost-$5"),
        ('"\\$A"', "$A"),
        ("\\$A", "$A"),
        ("a\\ b", "a b"),
        ('"\\n"', "\\n"),
        ("one' two 'three", "one two three"),
        ("日本\u3000語", "日本\u3000語"),
    ],
)
def test_values(text: str, meant: str) -> None:
    if text == "日本\u3000語":  # a space, but not one that ends words
        with pytest.raises(InvalidRequestError):
            _ = value(text)
        text = f"'{text}'"
    assert value(text) == meant


def test_instructions() -> None:
    recipe = parse_recipe(
        [
            "# a comment",
            "RUN --timeout=1m30s echo  'a  b'",
            "",
            "run echo $HOME\necho two",
            "START python3 -m http.server",
            "WORKDIR 'my app'",
            "USER user",
            "COPY a 'b c' $HOME/d/",
            "copy --chmod=0755 . .",
        ]
    )
    kinds = [type(each) for each in recipe]
    assert kinds == [Run, Run, StartProgram, Workdir, User, Copy, Copy]
    assert [each.line for each in recipe] == [2, 4, 5, 6, 7, 8, 9]
    first, second, start, workdir, _, copy, mode = recipe
    assert first == Run(2, "RUN --timeout=1m30s echo  'a  b'", "echo  'a  b'", 90.0)
    assert isinstance(second, Run)
    assert (second.command, second.timeout) == ("echo $HOME\necho two", None)
    assert isinstance(start, StartProgram)
    assert start.command == "python3 -m http.server"
    assert isinstance(workdir, Workdir)
    assert workdir.path.expand({}) == "my app"
    assert isinstance(copy, Copy)
    assert [source.expand(HOME) for source in copy.sources] == ["a", "b c"]
    assert (copy.target.expand(HOME), copy.mode) == ("/home/user/d/", None)
    assert isinstance(mode, Copy)
    assert mode.mode == 0o755


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("FLY away", 1, "no 'FLY' among RUN, START"),
        ("  FROM x", 3, "base_template"),
        ("CMD x", 1, "START"),
        ("RUN", 4, "needs a command"),
        ("RUN --timeout=5 x", 5, "such as 1m30s"),
        ("RUN --timeout=0 x", 5, "such as 1m30s"),
        ("RUN --timeout=99h x", 5, "such as 1m30s"),
        ("RUN --fast=1 x", 5, "no option --fast"),
        ("RUN --fast x", 5, "--name=value"),
        ("START  ", 6, "needs a command"),
        ("ENV", 4, "NAME=value"),
        ("ENV A B", 5, "NAME=value"),
        ("ENV 1A=b", 5, "no name of a variable"),
        ("ENV Ä=b", 5, "no name of a variable"),
        ("ENV 'A'=b", 5, "NAME=value"),
        ("ENV $A=b", 5, "NAME=value"),
        ("ENV A=b C=d", 9, "quote values"),
        ("ENV A='b", 7, "not closed"),
        ('ENV A="b', 7, "not closed"),
        ("ENV A=b\\", 8, "after this backslash"),
        ("ENV A=${B", 7, "${NAME}"),
        ("ENV A=${B:-c}", 7, "${NAME}"),
        ("ENV A=\x07", 7, "control character"),
        ("ENV A=b\nc", 8, "control character"),
        ("WORKDIR a b", 11, "nothing else"),
        ("USER", 5, "needs a name"),
        ("COPY a", 6, "sources and a target"),
        ("COPY --chmod=999 a b", 6, "--chmod=755"),
        ("COPY --from=x a b", 6, "--chmod=755"),
        ("RUN a\0b", 6, "NUL"),
    ],
)
def test_mistakes_have_a_place(line: str, column: int, problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        _ = parse_recipe(["RUN true", "", line])
    assert str(caught.value).startswith(f"recipe: line 3, column {column}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "recipe",
    [[], ["", "# x"], ["RUN x"] * 1001, ["RUN " + "x" * 70_000], ["RUN " + "x" * 60_000] * 5],
)
def test_recipes_have_bounds(recipe: list[str]) -> None:
    with pytest.raises(InvalidRequestError):
        _ = parse_recipe(recipe)


def test_healthchecks() -> None:
    assert parse_healthcheck("curl -f --max-time 1 x") == Healthcheck("curl -f --max-time 1 x")
    text = "--interval=500ms --timeout=1s --start-period=2s --retries=3 ping"
    assert parse_healthcheck(text) == Healthcheck("ping", 0.5, 1.0, 2.0, 3)
    assert parse_healthcheck("--start-period=0 x").start_period == 0


@pytest.mark.parametrize(
    "text",
    [
        "--interval=3s",
        "--interval=0 x",
        "--retries=-1 x",
        "--retries=1.5 x",
        "--what=1 x",
        "\0",
        "-- x",
    ],
)
def test_mistakes_of_healthchecks(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="healthcheck: "):
        _ = parse_healthcheck(text)


@pytest.mark.parametrize(
    "make",
    [lambda n: "ENV A=" + "\\a" * n, lambda n: 'ENV A="' + "$A" * n, lambda n: "ENV A=" + "''" * n],
    ids=["escapes", "variables", "quotes"],
)
def test_long_lines_are_read_to_their_end(make: Callable[[int], str]) -> None:
    line = make(30_000)
    if line.startswith('ENV A="'):
        line += '"'
    (instruction,) = parse_recipe([line])
    assert isinstance(instruction, Env)
    assert len(instruction.value.expand({"A": "x"})) in (30_000, 0)
