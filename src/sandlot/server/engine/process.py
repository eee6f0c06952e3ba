"""The process engine: no isolation at all.

Its sandboxes are directories, and its programs are ordinary processes of the server's own user,
which can do whatever that user can. It is for code that is trusted, on machines where nothing
better works, and is only used when asked for by name. It runs on any POSIX system; without Linux's
/proc, ending a command reaches its own process only. Ports of its sandboxes are those of the host.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandlot.server.guest import wire

from .base import (
    EnforcedLimits,
    EngineCapabilities,
    EngineUnavailableError,
    Node,
    SandboxSpec,
    UnknownTemplateError,
    UnsuitableError,
)
from .local.cgroups import Cgroups
from .local.keeper import Keeper
from .local.machine import describe_machine
from .local.records import Record
from .local.sandbox import LocalSandbox
from .local.territory import Territory

__all__ = ["ProcessEngine"]

_TEMPLATES = ("base-python", "minimal")


class ProcessEngine:
    """Sandboxes that are none.

    Args:
        data_dir: Directory for what sandboxes store; no other engine may use it.
        ephemeral: Whether the directory is removed with the engine.
    """

    def __init__(self, data_dir: Path, *, ephemeral: bool = False) -> None:
        territory = Territory(data_dir.absolute(), ephemeral=ephemeral)
        self._directory = territory.path
        self._keeper = Keeper(territory, lambda _: Cgroups("", ()))

    @property
    def capabilities(self) -> EngineCapabilities:
        """What it enforces: nothing."""
        return EngineCapabilities(
            engine="process",
            level="none",
            templates=_TEMPLATES,
            limits=EnforcedLimits(memory="none", pids="none", cpu="none", disk="none"),
            network=("full", "none"),
            pause="stop",
            reason="the process engine was asked for, which isolates nothing",
        )

    async def start(self) -> None:
        """Get ready, removing whatever an earlier life of this engine left behind."""
        if os.name != "posix":
            raise EngineUnavailableError("The process engine needs a POSIX system.")
        await self._keeper.start()

    async def close(self) -> None:
        """Destroy all sandboxes and leave nothing behind; may be repeated."""
        await self._keeper.close()

    async def nodes(self) -> Sequence[Node]:
        """Return the machines that its sandboxes can be on: this one."""
        return [describe_machine(self._directory)]

    async def adopt(self) -> Sequence[LocalSandbox]:
        """Return the sandboxes that outlived the last life of this engine: none do."""
        return ()

    async def release(self) -> None:
        """Destroy all sandboxes: they do not outlive this engine."""
        await self.close()

    async def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Make a sandbox; it runs when this returns."""
        if spec.template not in _TEMPLATES:
            raise UnknownTemplateError(f"there is no template {spec.template!r}")
        if spec.network not in self.capabilities.network:
            raise UnsuitableError(f"there is no network mode {spec.network!r}")
        record = await self._keeper.create(spec, _prepare)
        return LocalSandbox(
            spec,
            record.agent,
            env=_environment(record),
            home=lambda: record.home,
            owner=None,
            sentry=None,
            freezer=None,
            meter=None,
        )

    async def destroy(self, sandbox_id: str) -> None:
        """Kill a sandbox and remove its files; an unknown one is no error."""
        await self._keeper.destroy(sandbox_id)

    async def snapshots(self) -> Sequence[str]:
        """Return the ids of all snapshots: none, it makes none."""
        return ()

    async def delete_snapshot(self, snapshot_id: str) -> None:
        """Do nothing: there are no snapshots."""


async def _prepare(record: Record) -> wire.Message:
    record.home.mkdir(mode=0o755)
    programs = record.directory / "bin"
    programs.mkdir()
    for name in ("python", "python3"):
        (programs / name).symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    return {"isolated": False, "home": str(record.home)}


def _environment(record: Record) -> Mapping[str, str]:
    """Return the variables of programs: not the server's, which may be secret."""
    return {
        "HOME": str(record.home),
        "LANG": "C.UTF-8",
        "LOGNAME": "user",
        "PATH": f"{os.environ.get('PATH', os.defpath)}:{record.directory}/bin",
        "SHELL": "/bin/sh",
        "USER": "user",
    }
