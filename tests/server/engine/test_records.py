"""What is written down of sandboxes, and what is believed of it."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import SandboxSpec
from sandlot.server.engine.local import records
from sandlot.server.engine.local.agent import AgentClient
from sandlot.server.engine.local.records import Record, RecordError, load, save

from .conftest import spec

FULL = SandboxSpec(
    "box-1", "minimal", 2, 128, 64, "none", {"NAME": "välue\n"}, "/tmp", "snapshot-1", ("a", "b")
)


async def record(directory: Path, of: SandboxSpec = FULL) -> Record:
    mine, theirs = socket.socketpair()
    theirs.close()
    agent = AgentClient(mine)
    agent.close()
    return Record("warm-1", of, directory, agent, uid=70_000, notes={"chain": ["a", "b"]})


async def test_there_and_back(tmp_path: Path) -> None:
    save(await record(tmp_path))
    stored = load(tmp_path)
    assert stored.spec == FULL
    assert (stored.uid, stored.notes, stored.cgroups) == (70_000, {"chain": ["a", "b"]}, [])
    assert os.listdir(tmp_path) == ["record.json"]


def test_every_part_of_a_specification_is_kept() -> None:
    plain = SandboxSpec("x", "y", 0, 0, 0)
    same = [
        each.name for each in fields(FULL) if getattr(FULL, each.name) == getattr(plain, each.name)
    ]
    assert same == ["network"], "give FULL another value there"


async def test_the_id_is_the_present_one(tmp_path: Path) -> None:
    of = await record(tmp_path)
    of.rename("other")
    save(of)
    assert load(tmp_path).spec == replace(FULL, id="other")


async def test_a_record_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    of = await record(tmp_path)
    save(of)
    of.notes["more"] = object()
    with pytest.raises(TypeError):
        save(of)
    assert load(tmp_path).notes == {"chain": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "another version"),
        ({"format": True}, "malformed"),
        ({"uid": "0"}, "malformed"),
        ({"cgroups": [1]}, "malformed"),
        ({"notes": None}, "malformed"),
        ({"spec": {}}, "malformed"),
        ({"spec": {"id": "../../etc"}}, "cannot be"),
        ({"spec": {"id": "box\n"}}, "cannot be"),
    ],
)
async def test_what_is_not_believed(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    save(await record(tmp_path))
    path = tmp_path / "record.json"
    _ = path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RecordError, match=reason):
        _ = load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_record(tmp_path: Path, content: bytes) -> None:
    _ = (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(RecordError):
        _ = load(tmp_path)


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        _ = load(tmp_path)
    (tmp_path / "record.json").symlink_to("/etc/passwd")
    with pytest.raises(RecordError):
        _ = load(tmp_path)


def test_ids() -> None:
    assert records.is_id("cl-0123")
    assert records.is_id("a")
    for name in ("", ".", "..", "a/b", "-a", "a\n", "a" * 129):
        assert not records.is_id(name)


async def test_engines_write_records(tmp_path: Path) -> None:
    engine = make_engine("local", tmp_path / "data")
    await engine.start()
    try:
        _ = await engine.create(spec("box-1"))
        stored = load(tmp_path / "data/sandboxes/box-1")
        assert stored.spec == spec("box-1")
        assert all(os.listdir(path) and path.endswith("/box-1") for path in stored.cgroups)
        await engine.destroy("box-1")
        assert os.listdir(tmp_path / "data/sandboxes") == []
    finally:
        await engine.close()
