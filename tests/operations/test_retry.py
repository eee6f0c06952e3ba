"""What is sent again, without I/O."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from email.utils import formatdate
from typing import Any

import pytest

from sandlot._flow import Flow, Method, Now, Pause, Request, Response, Step, send
from sandlot._retry import Retry, retrying
from sandlot.errors import (
    AgentError,
    APIError,
    ConfigurationError,
    ConnectError,
    RequestTimeoutError,
    TransportError,
    UnavailableError,
)
from tests.operations.conftest import Play, answer, problem

STEADY = Retry(jitter=0)
KEY = {"Idempotency-Key": "k"}
LOST = TransportError("lost", outcome="unknown")
UNREACHED = ConnectError("unreached")
OK = answer({})


def again(request: Request, retry: Retry = STEADY) -> Flow[Response]:
    return retrying(send(request), retry)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("failure", [LOST, UNREACHED, problem("x", 503), problem("x", 502)])
def test_safe_methods_are_sent_again(play: Play, method: Method, failure: Any) -> None:
    request = Request(method, "/")
    assert play(again(request), failure, None, failure, None, OK) == OK
    assert play.steps == [request, Pause(0.1), request, Pause(0.2), request]


@pytest.mark.parametrize(
    "failure", [LOST, *(problem("x", status) for status in (429, 502, 503, 504))]
)
@pytest.mark.parametrize(
    "request_", [Request("POST", "/", headers=KEY), Request("POST", "/", harmless=True)]
)
def test_what_carries_a_key_or_does_no_harm_is_sent_again(
    play: Play, failure: Any, request_: Request
) -> None:
    assert play(again(request_), failure, None, OK) == OK


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_have_run_is_not_run_again(play: Play, method: Method) -> None:
    for status in (429, 500, 502, 503, 504):
        with pytest.raises(APIError):
            play(again(Request(method, "/")), problem("x", status))
    with pytest.raises(TransportError):
        play(again(Request(method, "/")), LOST)
    with pytest.raises(RequestTimeoutError):
        play(again(Request(method, "/")), RequestTimeoutError("late", outcome="unknown"))


def test_what_never_left_is_sent_again(play: Play) -> None:
    assert play(again(Request("POST", "/")), UNREACHED, None, OK) == OK


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 500, 501, 507])
def test_other_answers_are_final(play: Play, status: int) -> None:
    with pytest.raises(APIError):
        play(again(Request("GET", "/")), problem("x", status))


def test_attempts_are_counted(play: Play) -> None:
    with pytest.raises(ConnectError):
        play(again(Request("GET", "/")), *[UNREACHED, None] * 3, UNREACHED)
    assert len(play.sent) == 4


def test_the_last_answer_is_the_one_that_counts(play: Play) -> None:
    flow = again(Request("GET", "/"), Retry(attempts=3, jitter=0))
    with pytest.raises(UnavailableError, match="third"):
        play(flow, UNREACHED, None, UNREACHED, None, problem("host_unavailable", 503, "third"))


@pytest.mark.parametrize("last", [UNREACHED, problem("host_unavailable", 503)])
def test_what_may_have_happened_is_not_forgotten(play: Play, last: Any) -> None:
    flow = again(Request("POST", "/", headers=KEY), Retry(attempts=2, jitter=0))
    with pytest.raises(TransportError, match="lost") as caught:
        play(flow, LOST, None, last)
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("status", [502, 504])
def test_nor_is_what_may_have_happened_behind_a_proxy(play: Play, status: int) -> None:
    policy = Retry(attempts=2, jitter=0)
    with pytest.raises(AgentError) as caught:
        play(again(Request("DELETE", "/"), policy), answer(b"", status), None, answer(b"", 503))
    assert caught.value.outcome == "unknown"


def test_one_attempt_means_never_again(play: Play) -> None:
    with pytest.raises(ConnectError):
        play(again(Request("GET", "/"), Retry(attempts=1)), UNREACHED)


def test_retry_after_is_honoured(play: Play) -> None:
    limited = problem("slow_down", 429, retry_after="7")
    play(again(Request("GET", "/")), limited, None, OK)
    assert play.steps[1] == Pause(7)


def test_retry_after_may_be_a_date(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000)
    date = formatdate(1_000_009, usegmt=True)
    play(again(Request("GET", "/")), problem("x", 503, retry_after=date), None, OK)
    assert play.steps[1] == Pause(9)


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "-1"])
def test_a_senseless_retry_after_does_no_harm(play: Play, value: str) -> None:
    play(again(Request("GET", "/")), problem("x", 503, retry_after=value), None, OK)
    assert isinstance(play.steps[1], Pause)
    assert 0 <= play.steps[1].seconds <= 1


def test_a_wait_beyond_the_total_is_not_begun(play: Play) -> None:
    with pytest.raises(APIError) as caught:
        play(again(Request("GET", "/")), problem("x", 503, retry_after="3600"))
    assert caught.value.retry_after == 3600
    assert caught.value.is_retryable


def test_the_total_bounds_the_time_of_slow_failures() -> None:
    clock = itertools.count(0, 20)
    flow = again(Request("GET", "/"), Retry(attempts=99, jitter=0))
    sent: list[Request] = []

    def perform() -> None:
        step: Step = next(flow)
        while True:
            if isinstance(step, Request):
                sent.append(step)
                step = flow.throw(TransportError("slow", outcome="unknown"))
            else:
                step = flow.send(next(clock) if isinstance(step, Now) else None)

    with pytest.raises(TransportError):
        perform()
    assert len(sent) == 3


def test_pauses_grow_up_to_a_limit_and_vary() -> None:
    assert [STEADY.pause(attempt) for attempt in (1, 2, 3, 100)] == [0.1, 0.2, 0.4, 5]
    pauses = {Retry().pause(3) for _ in range(50)}
    assert len(pauses) > 1
    assert all(0.2 <= seconds <= 0.4 for seconds in pauses)


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"jitter": 2}, {"backoff": -1}, {"total": float("inf")}],
)
def test_senseless_policies_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Retry(**options)


def test_a_flow_that_is_left_is_closed() -> None:
    closed: list[bool] = []

    def flow() -> Generator[Step, Any, None]:
        try:
            yield Request("GET", "/")
        finally:
            closed.append(True)

    outer = retrying(flow(), STEADY)
    next(outer)
    outer.close()
    assert closed == [True]
