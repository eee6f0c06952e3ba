"""Which exception a failed response stands for, and what exceptions are like."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from sandlot import errors
from sandlot._failures import from_response
from sandlot.executions import Execution
from sandlot.models import Build
from sandlot.results import ExecResult


def failure(status: int, body: Any, **headers: str) -> errors.APIError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return from_response(status, content, names)


@pytest.mark.parametrize(
    ("code", "status", "kind", "builtin"),
    [
        ("invalid_request", 400, errors.InvalidRequestError, Exception),
        ("unauthorized", 401, errors.AuthenticationError, Exception),
        ("forbidden", 403, errors.PermissionDeniedError, PermissionError),
        ("not_found", 404, errors.NotFoundError, Exception),
        ("invalid_state", 409, errors.ConflictError, Exception),
        ("already_exists", 409, errors.ConflictError, Exception),
        ("host_has_sandboxes", 409, errors.HostHasSandboxesError, Exception),
        ("has_active_sandboxes", 409, errors.HostHasSandboxesError, Exception),
        ("too_large", 413, errors.TooLargeError, Exception),
        ("slow_down", 429, errors.RateLimitError, Exception),
        ("internal_error", 500, errors.InternalServerError, Exception),
        ("unsupported", 501, errors.UnsupportedByServerError, errors.UnsupportedError),
        ("agent_error", 502, errors.AgentError, Exception),
        ("host_unavailable", 503, errors.UnavailableError, Exception),
        ("no_hosts_available", 503, errors.UnavailableError, Exception),
        ("no_space", 507, errors.NoSpaceError, Exception),
        ("new_code", 400, errors.InvalidRequestError, Exception),
        ("new_code", 409, errors.ConflictError, Exception),
        ("new_code", 418, errors.APIError, Exception),
        ("new_code", 599, errors.InternalServerError, Exception),
        ("invalid_request", 413, errors.TooLargeError, Exception),
        ("agent_error", 500, errors.InternalServerError, Exception),
    ],
)
def test_classes(code: str, status: int, kind: type[Exception], builtin: type[Exception]) -> None:
    error = failure(status, {"error": {"code": code, "message": "why"}})
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert (error.code, error.message, error.status_code) == (code, "why", status)
    assert "why" in str(error)
    assert str(status) in str(error)


def test_advice_is_given_where_the_server_gives_none() -> None:
    refused = {"code": "unauthorized", "message": "The address or the password is wrong."}
    assert "token instead of an API key" in str(failure(401, {"error": refused}))
    assert "token" not in str(failure(401, {"error": {**refused, "request_id": "req-1"}}))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "not_started") for status in (400, 404, 409, 429, 501, 503, 507)),
        *((status, "unknown") for status in (500, 502, 504, 599)),
    ],
)
def test_outcomes(status: int, outcome: str) -> None:
    assert failure(status, {}).outcome == outcome


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"404 page not found\n", b"\xff\xfe", b"<html>", [], [1], "x", 3, None, True),
        *({"error": "x"}, {"error": []}, {"error": {"code": 3, "message": {}}}, {"errors": 1}),
    ],
)
def test_bodies_of_all_kinds(body: Any) -> None:
    error = failure(404, body)
    assert type(error) is errors.NotFoundError
    assert error.code == "unknown"
    assert error.message


def test_ids_of_sandboxes_at_either_place() -> None:
    inner = {"error": {"code": "has_active_sandboxes", "message": "", "sandbox_ids": ["a", "b"]}}
    outer = {"error": {"code": "host_has_sandboxes", "message": ""}, "sandbox_ids": ["a"]}
    neither = {"error": {"code": "host_has_sandboxes", "message": ""}, "sandbox_ids": "a"}
    for body, ids in ((inner, ("a", "b")), (outer, ("a",)), (neither, ())):
        error = failure(409, body)
        assert isinstance(error, errors.HostHasSandboxesError)
        assert error.sandbox_ids == ids


def test_request_ids_and_retry_after() -> None:
    error = failure(503, b"", x_request_id="r-1", retry_after="3")
    assert (error.request_id, error.retry_after) == ("r-1", 3)
    assert "r-1" in str(error)
    assert error.is_retryable


BUILD = Build(
    id="bld-1",
    name="mine",
    base_template="minimal",
    recipe=["RUN false"],
    vcpus=1,
    memory_mb=512,
    status="failed",
    current_step=1,
    total_steps=1,
    logs=[],
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def _samples() -> list[errors.SandlotError]:
    samples: list[errors.SandlotError] = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        if inspect.isclass(kind) and issubclass(kind, errors.SandlotError):
            samples.append(_sample(kind))
    return samples


def _sample(kind: Any) -> errors.SandlotError:
    if kind is errors.CommandFailedError:
        return errors.CommandFailedError(ExecResult("o", "e", 3))
    given: dict[str, object] = {}
    if issubclass(kind, errors.CodeRunError):
        given["execution"] = Execution()
    if kind is errors.BuildFailedError:
        given["build"] = BUILD
    sample: errors.SandlotError = kind("what happened", **given)
    return sample


@pytest.mark.parametrize("error", _samples(), ids=lambda error: type(error).__name__)
def test_every_error_says_its_outcome_and_can_be_copied(error: errors.SandlotError) -> None:
    error.outcome = "unknown"
    error.request_id = "r"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert twin.__dict__ == error.__dict__
        assert (str(twin), twin.outcome, twin.request_id) == (str(error), "unknown", "r")
        assert twin.is_retryable is False


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str | None] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        indent, star, rest = line.partition("* ")
        if not star:
            continue
        name = rest.split()[0]
        parents = [parent for parent in parents if parent[0] < len(indent)]
        drawn[name] = parents[-1][1] if parents else None
        parents.append((len(indent), name))
        kind = getattr(errors, name)
        if "(" in rest:
            for builtin in rest[rest.index("(") + 1 : rest.index(")")].split(", "):
                assert builtin in {base.__name__ for base in kind.__mro__}, name
    real = {name for name in errors.__all__ if name != "Outcome"}
    assert drawn.keys() == real
    for name, parent in drawn.items():
        if parent is not None:
            assert getattr(errors, name).__bases__[0].__name__ == parent
