"""The engine itself: makes sandboxes, keeps track of them and removes them."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from sandlot.server.engine.base import (
    EnforcedLimits,
    EngineCapabilities,
    EngineError,
    EngineUnavailableError,
    SandboxGoneError,
    SandboxSpec,
    UnknownTemplateError,
)
from sandlot.server.guest import mounts, namespaces, removal

from .agent import AgentClient, AgentStartError
from .cgroups import Cgroups, find_places
from .channel import socket_pair
from .group import FREEZE, Group
from .probe import explain
from .sandbox import LocalSandbox
from .templates import Template, find_templates
from .territory import Territory
from .zygote import Zygote

__all__ = ["LocalEngine"]

logger = logging.getLogger("sandlot.server.engine")

_PATIENCE = 30.0
_MIB = 1024 * 1024
_PROCESSES = 512
_DESCRIPTORS = 16384
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# Host users of sandboxes: above all that distributions and user databases hand out, below the
# sign bit that some programs stumble over.
_FIRST_UID = 0x70000000
_LAST_UID = 0x7FFFFFFE


class _Record:
    """What the engine holds of a sandbox that exists, at least in part."""

    def __init__(self, directory: Path, uid: int | None) -> None:
        self.directory = directory
        self.uid = uid
        self.agent: AgentClient | None = None
        self.group: Group | None = None
        self.removal: asyncio.Task[None] | None = None


class LocalEngine:
    """Sandboxes made of namespaces on this machine.

    Args:
        data_dir: Directory for what sandboxes store; no other engine may use it.
        ephemeral: Whether the directory is removed with the engine.
    """

    def __init__(self, data_dir: Path, *, ephemeral: bool = False) -> None:
        self._territory = Territory(data_dir.absolute(), ephemeral=ephemeral)
        self._records: dict[str, _Record] = {}
        self._templates: Mapping[str, Template] = {}
        self._zygote: Zygote | None = None
        self._cgroups = Cgroups("", ())
        self._reviving = asyncio.Lock()
        self._capabilities: EngineCapabilities | None = None
        self._private_uid = sys.platform == "linux" and os.getuid() == 0

    @property
    def capabilities(self) -> EngineCapabilities:
        """What it enforces; known after `start`."""
        if self._capabilities is None:
            raise RuntimeError("the engine has not been started")
        return self._capabilities

    async def start(self) -> None:
        """Get ready, removing whatever an earlier life of this engine left behind."""
        if sys.platform != "linux":
            raise EngineUnavailableError("the local engine needs Linux; use a Linux machine")
        await self._territory.enter()
        try:
            self._templates = find_templates()
            self._zygote = self._start_zygote()
            await self._probe()
        except BaseException:
            await asyncio.shield(self.close())
            raise
        self._capabilities = self._describe()

    async def close(self) -> None:
        """Destroy all sandboxes and leave nothing behind; may be repeated."""
        zygote, self._zygote = self._zygote, None
        for record in self._records.values():
            if record.agent is not None:
                record.agent.close()
        if zygote is not None:
            await zygote.close()
        self._records.clear()
        await self._territory.leave()

    async def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Make a sandbox; it runs when this returns."""
        template = self._templates.get(spec.template)
        if template is None:
            raise UnknownTemplateError(f"there is no template {spec.template!r}")
        if spec.network not in self.capabilities.network:
            raise EngineError(f"there is no network mode {spec.network!r}")
        return await self._create(spec, template)

    async def destroy(self, sandbox_id: str) -> None:
        """Kill a sandbox and remove its files; an unknown one is no error."""
        record = self._records.get(sandbox_id)
        if record is None:
            return
        if record.removal is None or record.removal.done():
            record.removal = asyncio.create_task(self._remove(sandbox_id, record))
        await asyncio.shield(record.removal)

    async def _create(self, spec: SandboxSpec, template: Template) -> LocalSandbox:
        if not _ID.fullmatch(spec.id) or spec.id in self._records:
            raise EngineError(f"{spec.id!r} cannot be the id of a new sandbox")
        record = _Record(self._territory.sandboxes / spec.id, self._choose_uid())
        self._records[spec.id] = record
        try:
            return await self._build(spec, template, record)
        except BaseException as error:
            await self.destroy(spec.id)
            if isinstance(error, OSError):
                text = f"the sandbox could not be made: {error.strerror}"
                raise EngineError(text) from error
            raise

    async def _build(self, spec: SandboxSpec, template: Template, record: _Record) -> LocalSandbox:
        zygote = await self._living_zygote()
        home = record.directory / "home"
        record.directory.mkdir(mode=0o700)
        home.mkdir(mode=0o755)
        if record.uid is not None:
            os.chown(home, record.uid, record.uid)
        record.group = group = self._make_group(spec)
        mine, theirs = socket_pair()
        record.agent = agent = AgentClient(mine)
        plan = {
            "home": str(home),
            "uid": record.uid,
            "memory_mb": spec.memory_mb,
            "hide_local": template.hide_local,
            "python": None if template.python is None else str(template.python),
            "links": dict(template.links),
            "limits": self._limits(spec),
            "cgroups": [] if group is None else group.directories,
        }
        zygote.create(spec.id, plan, theirs)
        try:
            async with asyncio.timeout(_PATIENCE):
                await agent.wait_ready()
        except TimeoutError as error:
            raise EngineError("the sandbox could not be made: it does not answer") from error
        except SandboxGoneError as error:
            raise EngineError("the sandbox could not be made: it died at once") from error
        env = {
            "HOME": mounts.HOME,
            "LANG": "C.UTF-8",
            "LOGNAME": "user",
            "PATH": template.search_path,
            "SHELL": "/bin/sh",
            "USER": "user",
        }
        return LocalSandbox(
            spec,
            agent,
            env=env,
            home=home,
            owner=record.uid,
            limit_files=True,
            freezer=group if group is not None and group.can_freeze else None,
            meter=group,
        )

    async def _remove(self, sandbox_id: str, record: _Record) -> None:
        if record.agent is not None:
            record.agent.close()
        ending = None if self._zygote is None else self._zygote.destroy(sandbox_id)
        if record.group is not None:
            record.group.release()  # after the kill was sent: nothing in it shall run on
        if ending is not None:
            await ending
        try:
            await asyncio.to_thread(_remove_remains, record)
        except OSError as error:
            text = f"what is left of the sandbox could not be removed: {error.strerror}"
            raise EngineError(text) from error
        _ = self._records.pop(sandbox_id, None)

    def _limits(self, spec: SandboxSpec) -> dict[str, int]:
        return {
            "core": 0,  # the host may feed cores to a program of its own
            "fsize": spec.disk_mb * _MIB,
            "nofile": _DESCRIPTORS,
            "nproc": _PROCESSES,
            **({} if "memory" in self._cgroups.controllers else {"data": spec.memory_mb * _MIB}),
        }

    def _make_group(self, spec: SandboxSpec) -> Group | None:
        group = self._cgroups.make(spec.id)
        if group is not None:
            try:
                group.limit(memory_mb=spec.memory_mb, processes=_PROCESSES, vcpus=spec.vcpus)
            except OSError:
                group.remove()
                raise
        return group

    def _choose_uid(self) -> int | None:
        if not self._private_uid:
            return None
        used = {record.uid for record in self._records.values()}
        while (uid := _FIRST_UID + secrets.randbelow(_LAST_UID - _FIRST_UID + 1)) in used:
            continue
        return uid

    def _start_zygote(self) -> Zygote:
        territory = self._territory
        places = find_places(
            Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
        )
        name = territory.remember([place.parent for place in places])
        self._cgroups = Cgroups(name, places)
        settings = {
            "cgroups": self._cgroups.directories,
            "directory": str(territory.sandboxes),
            "ephemeral": str(territory.path) if territory.ephemeral else None,
        }
        return Zygote([territory.lock], settings)

    async def _living_zygote(self) -> Zygote:
        """Return the zygote, or another one should it have died (and all sandboxes with it)."""
        async with self._reviving:
            if self._zygote is None:
                raise EngineError("the engine has been closed")
            if self._zygote.gone:
                logger.error("the zygote has died, and all sandboxes with it; starting another")
                await self._zygote.close()
                for directory in self._cgroups.directories:
                    await asyncio.to_thread(removal.remove_cgroup, directory)
                self._zygote = self._start_zygote()
            return self._zygote

    async def _probe(self) -> None:
        """Make a sandbox, doing without cgroups that cannot be entered."""
        while True:
            spec = SandboxSpec(f"probe-{secrets.token_hex(8)}", "minimal", 1, 64, 64)
            try:
                _ = await self._create(spec, self._templates["minimal"])
            except AgentStartError as error:
                if not self._cgroups.drop(error.call):
                    raise EngineUnavailableError(explain(error)) from error
            except EngineError as error:
                raise EngineUnavailableError(str(error)) from error
            else:
                await self.destroy(spec.id)
                return

    def _describe(self) -> EngineCapabilities:
        controllers = self._cgroups.controllers
        missing = sorted({"memory", "pids", "cpu"} - controllers)
        return EngineCapabilities(
            engine="local",
            level="full",
            templates=sorted(self._templates),
            limits=EnforcedLimits(
                memory="cgroup" if "memory" in controllers else "rlimit",
                pids="cgroup" if "pids" in controllers else "rlimit",
                cpu="cgroup" if "cpu" in controllers else "none",
                disk="file-size",
            ),
            namespaces=namespaces.NAMES,
            seccomp=True,
            no_new_privileges=True,
            capabilities_dropped=True,
            private_uid=self._private_uid,
            network=("none",),
            pause="freeze" if FREEZE in controllers else "stop",
            reason=(
                f"this server may not make control groups for {', '.join(missing)}"
                if missing
                else None
            ),
        )


def _remove_remains(record: _Record) -> None:
    if record.group is not None:
        record.group.remove()
    removal.remove_tree(str(record.directory))
