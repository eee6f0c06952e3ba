"""Operations on sandboxes, without I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sandlot import models
from sandlot._flow import Pause, Request, Response, Server
from sandlot._operations import sandboxes
from sandlot.errors import (
    AgentError,
    APIError,
    ConflictError,
    ConnectError,
    InvalidArgumentError,
    LeaseLostError,
    NotFoundError,
    SandboxDestroyedError,
    SandboxStateError,
    SandboxTimeoutError,
    TransportError,
    UnexpectedResponseError,
    UnsupportedError,
)
from tests.operations.conftest import ID, INFO, Play, answer, info, problem

ROOT = "/v1/sandboxes"
CAPABILITIES = {
    "server": "sandlot",
    "version": "1",
    "features": [],
    "isolation": {"level": "full", "engine": "local"},
    "limits": {},
}


NOT_THERE = answer(b"404 page not found\n", 404)


def create(server: Server | None = None, template: str | None = None, **options: Any) -> Any:
    fields = dict.fromkeys(
        [
            "vcpus",
            "memory_mb",
            "disk_mb",
            "timeout_sec",
            "name",
            "metadata",
            "env",
            "cwd",
            "network",
            "snapshot",
            "require_isolation",
            "on_timeout",
            "max_lifetime_sec",
            "lease_sec",
            "if_exists",
            "host_tags",
            "idempotency_key",
        ]
    )
    wait: bool = options.pop("wait", True)
    return sandboxes.create(server or Server(), template, **{**fields, **options}, wait=wait)


def test_create_sends_what_is_given_with_a_key(play: Play) -> None:
    made = play(create(template="t", vcpus=2, timeout_sec=60), info())
    assert (made.info.id, made.is_new) == (ID, True)
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", ROOT)
    assert request.body == {"template": "t", "vcpus": 2, "timeout_sec": 60}
    assert len(request.headers["Idempotency-Key"]) == 32
    assert request.is_idempotent


def test_create_takes_a_key(play: Play) -> None:
    play(create(idempotency_key="mine"), answer(CAPABILITIES), info())
    assert play.sent[-1].headers == {"Idempotency-Key": "mine"}


def test_a_key_is_not_sent_to_a_server_that_ignores_it(play: Play) -> None:
    with pytest.raises(UnsupportedError, match="idempotency keys"):
        play(create(idempotency_key="mine"), NOT_THERE)
    assert [request.method for request in play.sent] == ["GET"]


def test_additions_are_not_sent_to_a_server_that_ignores_them(play: Play) -> None:
    with pytest.raises(UnsupportedError, match="env, name"):
        play(create(name="n", env={"A": "b"}), problem("not_found", 404))
    assert play.steps == [Request("GET", "/v1/capabilities")]


def test_additions_are_sent_to_a_server_that_knows_them_and_it_is_asked_once(play: Play) -> None:
    server = Server()
    play(create(server, env={"A": "b"}), answer(CAPABILITIES), info())
    play(create(server, cwd="/tmp"), info())
    assert [request.path for request in play.sent] == ["/v1/capabilities", ROOT, ROOT]


NEWER_FIELDS = {
    "on_timeout": "destroy",
    "max_lifetime_sec": 60,
    "lease_sec": 30,
    "host_tags": ["gpu", "eu"],
}
NEWER = {
    **CAPABILITIES,
    "features": [
        "create.host_tags",
        "create.if_exists",
        "create.lease",
        "create.lifetime",
        "create.on_timeout",
    ],
}


def test_newer_fields_are_sent_to_servers_that_know_them(play: Play) -> None:
    play(create(**NEWER_FIELDS), answer(NEWER), info())
    assert play.sent[-1].body == NEWER_FIELDS


@pytest.mark.parametrize("field", NEWER_FIELDS)
def test_newer_fields_are_not_sent_to_servers_that_do_not(play: Play, field: str) -> None:
    with pytest.raises(UnsupportedError, match=field):
        play(create(**{field: NEWER_FIELDS[field]}), answer(CAPABILITIES))
    assert [request.method for request in play.sent] == ["GET"]


def test_what_was_there_is_not_ours_to_destroy(play: Play) -> None:
    there = info(status="paused")
    made = play(create(name="n", if_exists="get"), answer(NEWER), there, info())
    assert (made.is_new, made.info.status) == (False, "running")
    assert play.sent[-1].path == f"{ROOT}/{ID}/resume"
    assert play.undo is None


def test_what_was_not_there_is(play: Play) -> None:
    made = play(create(name="n", if_exists="get"), answer(NEWER), answer(INFO, 201))
    assert made.is_new
    Play()(play.undo(), answer(b"", 204))


@pytest.mark.parametrize(("status", "deleted"), [(200, False), (201, True)])
def test_an_abandoned_get_or_create_undoes_only_what_it_made(status: int, deleted: bool) -> None:
    flow = create(name="n", if_exists="get")
    _ = next(flow)
    undo = flow.send(answer(NEWER))
    flow.close()
    again = Play()
    again(undo.flow(), answer(INFO, status), *([answer(b"", 204)] if deleted else []))
    assert again.sent[-1].method == ("DELETE" if deleted else "POST")


def test_a_lease_is_renewed(play: Play) -> None:
    lease = play(sandboxes.renew_lease(ID, timeout=2), answer({"expires_at": INFO["created_at"]}))
    assert lease.expires_at.year == 2026
    play(sandboxes.renew_lease(ID), answer({"expires_at": INFO["created_at"]}))
    beat = Request("POST", f"{ROOT}/{ID}/lease", timeout=2)
    assert play.steps == [beat, replace(beat, timeout=None, harmless=True)]


def test_a_lost_lease_says_why(play: Play) -> None:
    gone = info(status="stopped", status_reason="Nobody cared.")
    with pytest.raises(LeaseLostError, match=f"{ID} is gone.*Nobody cared.") as caught:
        play(sandboxes.renew_lease(ID), problem("invalid_state", 409), gone)
    assert caught.value.status == "stopped"
    with pytest.raises(ConflictError):
        play(sandboxes.renew_lease(ID), problem("invalid_state", 409), info(status="pending"))


@pytest.mark.parametrize(
    "options",
    [
        {"if_exists": "get"},
        {"if_exists": "sometimes", "name": "n"},
        {"on_timeout": "hibernate"},
        {"lease_sec": -1},
        {"lease_sec": 1.5},
        {"max_lifetime_sec": 1 << 31},
        {"vcpus": -1},
        {"vcpus": 65},
        {"vcpus": "2"},
        {"vcpus": True},
        {"memory_mb": 1.5},
        {"name": "-x"},
        {"name": ""},
        {"template": "a\0b"},
        {"template": b"a"},
        {"env": {"A=B": "c"}},
        {"env": {"": "c"}},
        {"env": {"A": "\udc80"}},
        {"env": ["A"]},
        {"metadata": {"a": 1}},
        {"idempotency_key": "two words"},
        {"idempotency_key": ""},
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(play: Play, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        play(create(**options))
    assert play.steps == []
    assert isinstance(caught.value, ValueError)
    assert caught.value.outcome == "not_started"


def test_an_abandoned_create_is_asked_for_again_and_destroyed(play: Play) -> None:
    play(create(wait=False), info(status="pending"))
    flow = create()
    undo = next(flow)
    request = next(flow)
    flow.close()
    again = Play()
    again(undo.flow(), answer(CAPABILITIES), info(), answer(b"", 204))
    _, first, second = again.sent
    assert isinstance(request, Request)
    assert first.headers == request.headers
    assert first.body == request.body
    assert (second.method, second.path) == ("DELETE", f"{ROOT}/{ID}")


def test_an_abandoned_create_is_destroyed_by_id_once_that_is_known(play: Play) -> None:
    play(create(), info())
    Play()(play.undo(), answer(b"", 204))


def test_an_abandoned_create_with_a_key_of_ones_own_is_left_alone() -> None:
    flow = create(idempotency_key="mine")
    assert isinstance(next(flow), Request)


def test_a_create_without_an_answer_is_undone(play: Play) -> None:
    lost = TransportError("lost", outcome="unknown")
    with pytest.raises(TransportError) as caught:
        play(create(), lost, answer(CAPABILITIES), info(), answer(b"", 204))
    assert caught.value.outcome == "not_started"
    assert "was destroyed" in caught.value.__notes__[0]


LOST = "The server ended without warning, and the sandbox with it."


def test_a_create_answered_with_a_sandbox_that_is_gone_is_done_anew(play: Play) -> None:
    """The answer was lost with the server, and the next one has found it dead."""
    gone = info(status="stopped", status_reason=LOST)
    made = play(create(name="n", template="t"), answer(CAPABILITIES), gone, info(id=ID[:-1] + "2"))
    assert (made.info.id, made.is_new) == (ID[:-1] + "2", True)
    _, first, second = play.sent
    assert first.body == second.body
    assert first.headers != second.headers
    with pytest.raises(SandboxDestroyedError, match=LOST):
        play(create(), gone, gone)


def test_a_key_of_ones_own_names_a_sandbox_that_is_gone(play: Play) -> None:
    """Who knows who had it: another one would not be what was asked for."""
    gone = info(status="stopped", status_reason=LOST)
    with pytest.raises(SandboxDestroyedError, match=f"{ID}.*{LOST}"):
        play(create(idempotency_key="mine"), answer(CAPABILITIES), gone)


def test_an_original_server_is_not_asked_for_another_sandbox_to_undo_the_first(play: Play) -> None:
    lost = TransportError("lost", outcome="unknown", is_retryable=True)
    with pytest.raises(TransportError) as caught:
        play(create(), lost, NOT_THERE)
    assert [request.method for request in play.sent] == ["POST", "GET"]
    assert (caught.value.outcome, caught.value.is_retryable) == ("unknown", False)
    assert "original Wrenn server" in caught.value.__notes__[0]
    flow = create()
    undo = next(flow)
    flow.close()
    with pytest.raises(UnsupportedError, match="may exist"):
        Play()(undo.flow(), NOT_THERE)


@pytest.mark.parametrize("refusal", [problem("unauthorized", 401), problem("forbidden", 403)])
def test_a_server_that_does_not_say_is_not_trusted_with_keys(play: Play, refusal: Response) -> None:
    lost = TransportError("lost", outcome="unknown")
    with pytest.raises(TransportError) as caught:
        play(create(), lost, refusal)
    assert caught.value.outcome == "unknown"


def test_a_create_without_an_answer_that_cannot_be_undone_says_so(play: Play) -> None:
    lost = TransportError("lost", outcome="unknown")
    with pytest.raises(TransportError) as caught:
        play(create(), lost, ConnectError("gone"))
    assert caught.value.outcome == "unknown"
    assert "may exist" in caught.value.__notes__[0]


def test_a_create_that_a_proxy_gave_up_is_undone(play: Play) -> None:
    gave_up = answer(b"<html>504</html>", 504)
    with pytest.raises(AgentError) as caught:
        play(create(), gave_up, answer(CAPABILITIES), info(), answer(b"", 204))
    assert [request.method for request in play.sent] == ["POST", "GET", "POST", "DELETE"]
    assert caught.value.outcome == "not_started"


@pytest.mark.parametrize("failure", [problem("agent_error", 502), answer(b"<html></html>", 503)])
def test_a_create_that_failed_is_not_undone(play: Play, failure: Response) -> None:
    with pytest.raises(APIError):
        play(create(), failure)
    assert len(play.sent) == 1


def test_a_create_that_never_left_is_not_undone(play: Play) -> None:
    with pytest.raises(ConnectError):
        play(create(), ConnectError("no"))
    assert len(play.steps) == 1


def test_create_waits_and_removes_what_fails(play: Play) -> None:
    with pytest.raises(SandboxStateError, match="disk"):
        play(
            create(),
            info(status="starting"),
            info(status="error", status_reason="disk"),
            answer(b"", 204),
        )
    assert play.sent[-1].method == "DELETE"


def test_wait_ready_polls(play: Play) -> None:
    flow = sandboxes.wait_ready(ID, interval=2)
    ready = play(flow, info(status="starting"), None, info(status="new-fangled"), None, info())
    assert ready.status == "running"
    get = Request("GET", f"{ROOT}/{ID}")
    assert play.steps == [get, Pause(2), get, Pause(2), get]


def test_wait_ready_gives_up(play: Play) -> None:
    with pytest.raises(SandboxTimeoutError) as caught:
        play(sandboxes.wait_ready(ID, timeout=0), info(status="pending"))
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        ("paused", SandboxStateError, "resume"),
        ("error", SandboxStateError, "create another"),
        ("missing", SandboxStateError, "missing"),
        ("stopped", SandboxDestroyedError, "gone"),
    ],
)
def test_wait_ready_raises_at_once_where_waiting_is_vain(
    play: Play, status: str, kind: type[Exception], hint: str
) -> None:
    with pytest.raises(kind, match=hint):
        play(sandboxes.wait_ready(ID), info(status=status))


def test_connect_resumes_what_is_paused(play: Play) -> None:
    assert play(sandboxes.connect(Server(), ID), info(status="paused"), info()).status == "running"
    assert play.sent[1].path == f"{ROOT}/{ID}/resume"


def test_connect_does_not_mind_that_somebody_was_faster(play: Play) -> None:
    flow = sandboxes.connect(Server(), ID)
    found = play(flow, info(status="paused"), problem("invalid_state", 409), info())
    assert found.status == "running"


def test_connect_looks_for_names(play: Play) -> None:
    flow = sandboxes.connect(Server(), "mine")
    play(flow, answer(CAPABILITIES), answer([{**_info(), "name": "mine"}]))
    assert play.steps[1] == Request("GET", ROOT, params={"name": "mine"})


def test_connect_says_that_there_is_no_such_name(play: Play) -> None:
    with pytest.raises(NotFoundError, match="'mine'"):
        play(sandboxes.connect(Server(), "mine"), answer(CAPABILITIES), answer([]))


def test_connect_needs_a_name(play: Play) -> None:
    """A server that is asked for sandboxes of no name returns all of them."""
    with pytest.raises(InvalidArgumentError, match="id_or_name is empty"):
        play(sandboxes.connect(Server(), ""))
    assert play.sent == []


def test_connect_takes_any_id_on_an_original_server(play: Play) -> None:
    play(sandboxes.connect(Server(), "sb-1"), problem("not_found", 404), info())
    assert play.steps[1] == Request("GET", f"{ROOT}/sb-1")


def test_destroy_does_not_mind_that_it_is_gone(play: Play) -> None:
    play(sandboxes.destroy(ID), problem("not_found", 404))
    Play()(play.undo(), answer(b"", 204))


def test_destroy_does_not_believe_a_proxy_that_it_is_gone(play: Play) -> None:
    with pytest.raises(NotFoundError):
        play(sandboxes.destroy(ID), answer(b"<html>404</html>", 404))


def test_destroy_does_mind_other_errors(play: Play) -> None:
    with pytest.raises(ConflictError):
        play(sandboxes.destroy(ID), problem("conflict", 409))


@pytest.mark.parametrize(
    "hostile", ["", ".", "..", "../teams", "a/b", "a?b", "a%2f", "-a", "a\0", "é", "a" * 129, 7]
)
def test_hostile_ids_are_refused(play: Play, hostile: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        play(sandboxes.get(hostile))


def test_a_list_has_filters_and_a_cursor(play: Play) -> None:
    flow = sandboxes.list_page(
        Server(),
        status="paused",
        template=None,
        name=None,
        metadata={"a b": "c"},
        limit=5,
        cursor="x",
    )
    infos, cursor = play(flow, answer(CAPABILITIES), answer([_info()], x_next_cursor="y"))
    assert [item.id for item in infos] == [ID]
    assert cursor == "y"
    assert play.steps[1] == Request(
        "GET",
        ROOT,
        params={"status": "paused", "metadata.a b": "c", "limit": "5", "cursor": "x"},
    )


def test_a_missing_field_is_named(play: Play) -> None:
    with pytest.raises(UnexpectedResponseError, match="vcpus: Field required") as caught:
        play(sandboxes.get(ID), answer({"id": ID, "name": 7}, x_request_id="r"))
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_unknown_fields_and_values_survive(play: Play) -> None:
    found = play(sandboxes.get(ID), info(status="dreaming", mood={"good": True}))
    assert found.status == "dreaming"
    assert found.to_dict()["mood"] == {"good": True}


def test_a_redirect_is_not_an_answer(play: Play) -> None:
    with pytest.raises(UnexpectedResponseError, match=r"https://elsewhere\.example"):
        play(sandboxes.get(ID), answer(b"", 302, location="https://elsewhere.example"))


def _info() -> dict[str, Any]:
    body: dict[str, Any] = models.SandboxInfo.model_validate_json(info().content).to_dict()
    return body
