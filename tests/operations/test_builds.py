"""Operations on builds, without I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandlot._flow import Pause, Server
from sandlot._operations import builds, recipes
from sandlot.errors import (
    BuildFailedError,
    BuildTimeoutError,
    InvalidArgumentError,
    UnsupportedError,
)
from sandlot.models import Capabilities
from tests.operations.conftest import Play, answer

ID = "bld-0000000000000000000000001"
BUILD: dict[str, Any] = {
    "id": ID,
    "name": "mine",
    "base_template": "minimal",
    "recipe": ["RUN true"],
    "vcpus": 1,
    "memory_mb": 512,
    "status": "pending",
    "current_step": 0,
    "total_steps": 1,
    "logs": [],
    "created_at": "2026-11-01T09:30:00Z",
}
STEP = {
    "step": 1,
    "phase": "recipe",
    "cmd": "RUN make",
    "stdout": "out\n",
    "stderr": "",
    "exit": 2,
    "ok": False,
    "elapsed_ms": 5,
}
OPTIONS: dict[str, Any] = dict.fromkeys(
    ["base_template", "archive", "healthcheck", "vcpus", "memory_mb", "disk_mb", "network"]
)
ORIGINAL = Server(None, asked=True)


def ours(*features: str) -> Server:
    capabilities = {
        "server": "sandlot",
        "version": "1",
        "features": list(features),
        "isolation": {"level": "full", "engine": "local"},
        "limits": {},
    }
    return Server(Capabilities.model_validate(capabilities), asked=True)


def page(status: str, offset: int, *texts: str) -> Any:
    pieces = [{"step": 1, "stream": "stdout", "text": text} for text in texts]
    return answer(
        {
            "status": status,
            "current_step": 1,
            "total_steps": 1,
            "next_offset": offset,
            "pieces": pieces,
        }
    )


def test_a_build_is_asked_for(play: Play) -> None:
    flow = builds.create(ours(), "mine", ["# why", "RUN true"], **{**OPTIONS, "vcpus": 2})
    assert play(flow, answer(BUILD, 201)).status == "pending"
    (request,) = play.sent
    assert (request.method, request.path) == ("POST", "/v1/admin/builds")
    assert request.body == {"name": "mine", "recipe": ["# why", "RUN true"], "vcpus": 2}
    assert request.is_idempotent
    assert request.upload is None


def test_an_archive_goes_beside_the_recipe(play: Play) -> None:
    flow = builds.create(ours(), "mine", ["COPY . ü"], **{**OPTIONS, "archive": b"zipped"})
    _ = play(flow, answer(BUILD, 201))
    (request,) = play.sent
    assert request.body is None
    assert request.upload is not None
    assert request.upload.fields == ("config", "archive")
    assert json.loads(request.upload.path) == {"name": "mine", "recipe": ["COPY . ü"]}
    assert (request.upload.content, request.upload.size) == (b"zipped", 6)


def test_original_servers_get_what_they_know(play: Play) -> None:
    flow = builds.create(ORIGINAL, "mine", "# why\n\nRUN true\n", **OPTIONS)
    _ = play(flow, answer(BUILD, 201))
    (request,) = play.sent
    assert request.body == {"name": "mine", "recipe": ["RUN true"]}
    assert not request.is_idempotent
    for more in ({"network": "none"}, {"disk_mb": 5}):
        with pytest.raises(UnsupportedError):
            play(builds.create(ORIGINAL, "mine", ["RUN true"], **{**OPTIONS, **more}))


@pytest.mark.parametrize(
    ("name", "recipe", "more"),
    [
        ("a/b", ["RUN x"], {}),
        (3, ["RUN x"], {}),
        ("mine", [], {}),
        ("mine", "# nothing\n", {}),
        ("mine", [1], {}),
        ("mine", b"RUN x", {}),
        ("mine", None, {}),
        ("mine", ["RUN \0"], {}),
        ("mine", ["RUN x"], {"vcpus": -1}),
        ("mine", ["RUN x"], {"healthcheck": ""}),
        ("mine", ["RUN x"], {"base_template": 1}),
    ],
)
def test_nonsense_is_not_sent(play: Play, name: Any, recipe: Any, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        play(builds.create(ours(), name, recipe, **{**OPTIONS, **more}))
    assert play.sent == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("RUN a\nRUN b", ["RUN a", "RUN b"]),
        ("RUN a \\\n  b\nRUN c\n", ["RUN a   b", "", "RUN c"]),
        ("RUN a\\\nb\\\nc\n# d\\\nRUN e", ["RUN abc", "", "", "# d\\", "RUN e"]),
        ("RUN a\\", ["RUN a"]),
    ],
)
def test_lines_keep_their_numbers(text: str, lines: list[str]) -> None:
    assert recipes.lines(text) == lines


def test_a_log_is_read_to_its_end(play: Play) -> None:
    reader = builds.Reader(ours("builds.log"), ID, None)
    seen = play(reader.read(), page("running", 3, "one"), None)
    seen += play(reader.read(), page("running", 6, "two"), None)
    seen += play(reader.read(), page("success", 9, "end"), None)
    assert not reader.done
    seen += play(reader.read(), page("success", 9))
    assert reader.done
    assert [piece.text for piece in seen] == ["one", "two", "end"]
    assert [request.params["offset"] for request in play.sent] == ["0", "3", "6", "9"]
    assert all(request.timeout is not None for request in play.sent)
    assert play(reader.result(), answer({**BUILD, "status": "success"})).status == "success"


def test_waiting_has_an_end(play: Play) -> None:
    reader = builds.Reader(ours("builds.log"), ID, 5)
    _ = play(reader.read(), page("pending", 0), None)
    assert play.sent[0].params["wait_sec"] == "5"
    play.clock = 5.5
    with pytest.raises(BuildTimeoutError, match="goes on") as caught:
        play(reader.read())
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.outcome, caught.value.is_retryable) == ("unknown", True)


def test_original_servers_tell_of_steps(play: Play) -> None:
    reader = builds.Reader(ORIGINAL, ID, None)
    running = {**BUILD, "status": "running", "logs": [STEP]}
    seen = play(reader.read(), answer(running), None)
    assert [(piece.stream, piece.text) for piece in seen] == [
        ("command", "RUN make"),
        ("stdout", "out\n"),
    ]
    assert isinstance(play.steps[-1], Pause)
    failed = {**running, "status": "failed", "error": "Step 1 failed"}
    assert play(reader.read(), answer(failed)) == []
    assert reader.done
    with pytest.raises(BuildFailedError, match="Step 1 failed") as caught:
        play(reader.result(), answer(failed))
    assert caught.value.step is not None
    assert (caught.value.step.exit, caught.value.outcome) == (2, "finished")


def test_a_cancelled_build_was_not_built(play: Play) -> None:
    reader = builds.Reader(ours("builds.log"), ID, None)
    with pytest.raises(BuildFailedError, match="cancelled") as caught:
        play(reader.result(), answer({**BUILD, "status": "cancelled"}))
    assert caught.value.step is None


def test_other_calls(play: Play) -> None:
    listed = play(
        builds.list_page(limit=1, cursor="c"), answer([BUILD], **{"x-next-cursor": "next"})
    )
    assert ([build.id for build in listed[0]], listed[1]) == ([ID], "next")
    assert play(builds.get(ID), answer(BUILD)).id == ID
    play(builds.cancel(ID), answer(None, 204))
    assert [(request.method, request.path) for request in play.sent] == [
        ("GET", "/v1/admin/builds"),
        ("GET", f"/v1/admin/builds/{ID}"),
        ("POST", f"/v1/admin/builds/{ID}/cancel"),
    ]
    for bad in ("", "../x", None):
        with pytest.raises(InvalidArgumentError):
            play(builds.get(bad))  # type: ignore[arg-type]
