"""What is written down of each sandbox, for a next life of the engine to know it again.

The record lies beside what the sandbox stores, where nothing inside can reach it, and is there
before the sandbox is: a sandbox without a record never ran.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sandlot.server.engine.base import SandboxSpec
from sandlot.server.guest import wire

from .agent import AgentClient
from .group import Group

__all__ = ["Record", "RecordError", "StoredRecord", "is_id", "load", "save"]

_FILE = "record.json"
_FORMAT = 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class RecordError(Exception):
    """There is no record that makes sense."""


@dataclass(slots=True, eq=False)
class Record:
    """What there is of a sandbox, at least in part.

    Attributes:
        name: What the zygote knows it by; its directory and control groups have that name too.
        spec: What it is like; the id is its present one.
        directory: Its place on the host.
        agent: Its agent, which may not be ready yet.
        uid: User on the host that nothing but this sandbox uses, if it has one.
        group: Its control groups, if it has any.
        notes: What else a next life has to know; JSON only.
        generation: Which of its homes it began with, if it was taken over.
        farewell: What is to be done when nothing is left of it.
    """

    name: str
    spec: SandboxSpec
    directory: Path
    agent: AgentClient
    uid: int | None = None
    group: Group | None = None
    notes: dict[str, object] = field(default_factory=dict[str, object])
    generation: int | None = None
    removal: asyncio.Task[None] | None = None
    farewell: Callable[[], None] | None = None

    @property
    def home(self) -> Path:
        """Its home directory, as the server sees it."""
        return self.directory / "home"

    def rename(self, sandbox_id: str) -> None:
        """Answer to another id from now on."""
        self.spec = replace(self.spec, id=sandbox_id)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """What a record on disk says; the fields are those of `Record`.

    Attributes:
        cgroups: Directories of the control groups.
    """

    spec: SandboxSpec
    uid: int | None
    cgroups: Sequence[str]
    notes: dict[str, object]


def is_id(text: str) -> bool:
    """Whether this can be the id of a sandbox, and the name of a directory."""
    return _ID.fullmatch(text) is not None


def save(record: Record) -> None:
    """Write a record down, at once and completely or not at all.

    It is not forced to the disk: it is of no use when the machine has been down, as the sandbox is
    gone then.

    Raises:
        OSError: It cannot be written.
    """
    draft = record.directory / f"{_FILE}.new"
    content = {
        "format": _FORMAT,
        "spec": asdict(record.spec),
        "uid": record.uid,
        "cgroups": [] if record.group is None else record.group.directories,
        "notes": record.notes,
    }
    _ = draft.write_text(json.dumps(content))
    _ = draft.replace(record.directory / _FILE)


def load(directory: Path) -> StoredRecord:
    """Return what was written down of a sandbox.

    Raises:
        RecordError: Nothing was, or nothing that this version understands.
    """
    try:
        descriptor = os.open(directory / _FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = wire.decode(file.read())
        if wire.integer(content, "format") != _FORMAT:
            raise RecordError("the record is of another version")
        return StoredRecord(
            spec=_spec(wire.mapping(content, "spec")),
            uid=wire.optional_integer(content, "uid"),
            cgroups=wire.strings(content, "cgroups"),
            notes=dict(wire.mapping(content, "notes")),
        )
    except OSError as error:
        raise RecordError(f"the record cannot be read: {error.strerror}") from error
    except wire.WireError as error:
        raise RecordError(f"the record is malformed: {error}") from error


def _spec(content: wire.Message) -> SandboxSpec:
    sandbox_id = wire.text(content, "id")
    if not is_id(sandbox_id):
        raise RecordError("the record names an id that cannot be")
    return SandboxSpec(
        id=sandbox_id,
        template=wire.text(content, "template"),
        vcpus=wire.integer(content, "vcpus"),
        memory_mb=wire.integer(content, "memory_mb"),
        disk_mb=wire.integer(content, "disk_mb"),
        network=wire.text(content, "network"),
        env=wire.text_mapping(content, "env"),
        cwd=wire.optional_text(content, "cwd"),
        snapshot=wire.optional_text(content, "snapshot"),
        nodes=tuple(wire.strings(content, "nodes")),
    )
