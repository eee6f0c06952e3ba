"""The engine itself: what its sandboxes are like, and what holds them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sandlot.server.engine.base import (
    EnforcedLimits,
    EngineCapabilities,
    EngineError,
    EngineUnavailableError,
    Node,
    SandboxSpec,
    UnknownTemplateError,
    UnsuitableError,
)
from sandlot.server.guest import mounts, namespaces, wire

from .agent import AgentClient, AgentStartError
from .archive import Archive
from .cgroups import find_cgroups
from .demand import Demand
from .destinations import Network
from .group import FREEZE
from .identities import Identities
from .keeper import Keeper
from .machine import describe_machine
from .networks import Networks
from .probe import explain
from .quota import DiskBounds
from .records import Record
from .rlimits import PROCESSES, resource_limits
from .sandbox import LocalSandbox
from .sentry import Sentry
from .templates import Template, Templates, find_templates
from .territory import Territory
from .warm import WarmSandboxes
from .watchdog import Reserve, Watchdog

__all__ = ["LocalEngine"]

_log = logging.getLogger("sandlot.server.engine")

_MIB = 1024 * 1024
_LEAST_MEMORY_MB = 8
"""With less, there is room for the agent but for no program."""


class LocalEngine:
    """Sandboxes made of namespaces on this machine.

    Args:
        data_dir: Directory for what sandboxes store; no other engine may use it.
        ephemeral: Whether the directory is removed with the engine.
        templates_dir: Directory of installed templates to search before the usual ones.
        warm: What sandboxes to keep prepared, one by one.
        warm_memory_mb: How much memory prepared ones may use together, in MiB.
        warm_adapt: Whether to keep prepared what has been asked for lately, too.
        orphan_timeout: Seconds that sandboxes wait for another engine if this one is killed; with
            0 they end with it.
        networks: Network modes to offer, where they work.
        outbound_allow: Networks besides the internet that the mode `outbound` may reach.
        reserve: What sandboxes must leave to the host.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ephemeral: bool = False,
        templates_dir: Path | None = None,
        warm: Sequence[SandboxSpec] = (),
        warm_memory_mb: int = 1024,
        warm_adapt: bool = False,
        orphan_timeout: float = 0.0,
        networks: Sequence[str] = ("none", "outbound"),
        outbound_allow: Sequence[Network] = (),
        reserve: Reserve | None = None,
    ) -> None:
        territory = Territory(data_dir.absolute(), ephemeral=ephemeral)
        self._directory = territory.path
        self._outlived = orphan_timeout > 0
        self._keeper = Keeper(territory, find_cgroups, kind="local", orphan_timeout=orphan_timeout)
        self._watchdog = Watchdog(territory.sandboxes, reserve or Reserve())
        self._adopted: Sequence[Record] = ()
        self._archive = Archive(territory.path, durable=not ephemeral, send=self._keeper.send_out)
        self._identities = Identities.of_this_process()
        self._networks = Networks(networks, outbound_allow)
        self._templates_dir = templates_dir
        self._templates = Templates({})
        self._warm_wanted = warm
        self._warm_memory_mb = warm_memory_mb
        self._demand = Demand(adapt=warm_adapt)
        self._warm: WarmSandboxes | None = None
        self._capabilities: EngineCapabilities | None = None

    @property
    def capabilities(self) -> EngineCapabilities:
        """What it enforces; known after `start`."""
        if self._capabilities is None:
            raise RuntimeError("the engine has not been started")
        return self._capabilities

    @property
    def prepared(self) -> int:
        """How many sandboxes are ready before they are asked for."""
        return 0 if self._warm is None else self._warm.ready

    async def start(self) -> None:
        """Get ready, removing what an earlier life of this engine left that cannot go on."""
        if sys.platform != "linux":
            raise EngineUnavailableError(
                "The local engine needs Linux: use a server on a Linux machine, or Linux in a"
                " virtual machine (WSL 2 on Windows)."
            )
        self._templates = find_templates(self._templates_dir)
        try:
            await self._keeper.start()
            for record in self._archive.open(self._keeper.records):
                await self.destroy(record.spec.id)
            self._adopted = self._keeper.records
            self._watchdog.start()
            await self._probe()
            self._begin_warming()
        except BaseException:
            # A start that fails is no reason to lose sandboxes: another one may succeed.
            await asyncio.shield(self.release() if self._keeper.has_inherited else self.close())
            raise
        self._capabilities = self._describe()

    async def nodes(self) -> Sequence[Node]:
        """Return the machines that its sandboxes can be on: this one."""
        return [describe_machine(self._directory)]

    async def adopt(self) -> Sequence[LocalSandbox]:
        """Return the sandboxes that outlived the last life of this engine, once after `start`."""
        records, self._adopted = self._adopted, ()
        sandboxes: list[LocalSandbox] = []
        for record in records:
            template = self._templates.present.get(record.spec.template)
            if template is None:
                _log.warning(
                    "a sandbox cannot be taken over, as its template is missing",
                    extra={"sandbox_id": record.spec.id, "template": record.spec.template},
                )
                await self.destroy(record.spec.id)
            else:
                self._networks.reconnect(record.spec.network, record.agent)
                sandboxes.append(self._open(record, template))
        return sandboxes

    async def release(self) -> None:
        """Leave all sandboxes to the next life, if they may outlive this one; else `close`."""
        if not self._outlived:
            await self.close()
            return
        if self._warm is not None:
            await self._warm.close()
        await self._watchdog.close()
        await self._archive.let_go()
        self._keeper.let_go()
        self._templates.release()

    async def close(self) -> None:
        """Destroy all sandboxes and leave nothing behind; may be repeated."""
        if self._warm is not None:
            await self._warm.close()
        await self._watchdog.close()
        await self._keeper.close()
        await self._archive.close()
        self._templates.release()

    async def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Make a sandbox; it runs when this returns."""
        template = self._find_template(spec.template)
        self._networks.check(spec.network, template)
        if spec.memory_mb < _LEAST_MEMORY_MB:
            raise UnsuitableError(f"a sandbox needs at least {_LEAST_MEMORY_MB} MiB of memory")
        self._keeper.check_new(spec.id)
        if spec.snapshot is not None:
            _ = self._archive.layers.get(spec.snapshot)
        return await self._take_warm(spec, template) or await self._make(spec, template)

    async def destroy(self, sandbox_id: str) -> None:
        """Kill a sandbox and remove its files; an unknown one is no error."""
        await self._keeper.destroy(sandbox_id)

    async def snapshots(self) -> Sequence[str]:
        """Return the ids of all snapshots."""
        return self._archive.layers.ids

    async def delete_snapshot(self, snapshot_id: str) -> None:
        """Forget a snapshot; what others need of it stays."""
        self._archive.forget(snapshot_id)

    def _find_template(self, name: str) -> Template:
        template = self._templates.present.get(name)
        if template is None:
            advice = self._templates.missing.get(name, "")
            raise UnknownTemplateError(f"there is no template {name!r}. {advice}".strip())
        return template

    def _begin_warming(self) -> None:
        """Keep sandboxes prepared.

        Raises:
            UnknownTemplateError: There is no template for them.
        """
        for spec in self._warm_wanted:
            kind = self._find_template(spec.template)
            wanted = replace(spec, template=self._templates.canonical(spec.template))
            self._demand.keep(wanted, serves=kind.service is not None)

        async def make(spec: SandboxSpec) -> LocalSandbox:
            return await self._make(spec, self._find_template(spec.template))

        self._warm = WarmSandboxes(self._demand, self._warm_memory_mb, make, self.destroy)
        self._warm.start()

    async def _take_warm(self, spec: SandboxSpec, template: Template) -> LocalSandbox | None:
        """Return a prepared sandbox, if there is one like that."""
        if self._warm is None or not self._can_prepare(spec):
            return None
        wanted = replace(spec, template=self._templates.canonical(spec.template))
        sandbox = self._warm.take(wanted, serves=template.service is not None)
        if sandbox is not None:
            try:
                self._keeper.rename(sandbox.id, spec.id)
            except EngineError:
                await self.destroy(sandbox.id)
                raise
            sandbox.rename(spec.id)
        return sandbox

    def _can_prepare(self, spec: SandboxSpec) -> bool:
        """Whether sandboxes like this may be made before they are asked for: cheaply, that is."""
        return spec.snapshot is None or self.capabilities.snapshot == "overlay"

    async def _make(self, spec: SandboxSpec, template: Template) -> LocalSandbox:
        record = await self._keeper.create(spec, lambda new: self._prepare(spec, template, new))
        try:
            await self._networks.connect(spec.network, record.agent)
        except BaseException:
            await self.destroy(spec.id)
            raise
        return self._open(record, template)

    def _open(self, record: Record, template: Template) -> LocalSandbox:
        env = {
            "HOME": mounts.HOME,
            "LANG": "C.UTF-8",
            "LOGNAME": "user",
            "PATH": template.search_path,
            "SHELL": "/bin/sh",
            "USER": "user",
        }
        group = record.group
        return LocalSandbox(
            record.spec,
            record.agent,
            env=env,
            home=lambda: self._archive.captures.home(record).upper,
            owner=record.uid,
            sentry=self._watch(record),
            freezer=group if group is not None and group.can_freeze else None,
            meter=group,
            service=template.service,
            past=self._archive.past(record, partial(self._renew, record, template)),
        )

    def _watch(self, record: Record) -> Sentry:
        sentry = Sentry(
            record.agent,
            self._archive.captures.home(record).upper,
            partial(self._archive.captures.sealed, record),
            DiskBounds.of(record.spec),
            memory=None if self._kernel_bounds_memory else record.spec.memory_mb * _MIB,
            group=record.group,
        )
        self._watchdog.watch(sentry)
        return sentry

    @property
    def _kernel_bounds_memory(self) -> bool:
        return "memory" in self._keeper.cgroups.controllers

    async def _renew(
        self, record: Record, template: Template, snapshot_id: str
    ) -> tuple[AgentClient, Sentry]:
        """Kill all in a sandbox and start it with the files of a snapshot."""
        captures = self._archive.captures
        home = await captures.prepare_rollback(record, snapshot_id)
        try:
            plan = {**self._plan(record, template), **home.plan()}
            captures.announce(record, home)
        except BaseException:
            await captures.abandon(record, home)
            raise
        try:
            await self._keeper.renew(record, plan)
        except BaseException:
            captures.release(home)  # its files went with the sandbox
            raise
        await captures.replace(record, home)
        try:
            await self._networks.connect(record.spec.network, record.agent)
        except BaseException:
            await self.destroy(record.spec.id)
            raise
        return record.agent, self._watch(record)

    async def _prepare(self, spec: SandboxSpec, template: Template, record: Record) -> wire.Message:
        record.uid = self._identities.choose(self._keeper.uids)
        await self._archive.begin(record)
        record.group = self._keeper.cgroups.make(spec.id)
        if record.group is not None:
            record.group.limit(memory_mb=spec.memory_mb, processes=PROCESSES, vcpus=spec.vcpus)
        return self._plan(record, template)

    def _plan(self, record: Record, template: Template) -> wire.Message:
        spec = record.spec
        return {
            "isolated": True,
            "uid": record.uid,
            "memory_mb": spec.memory_mb,
            "hide_local": template.hide_local,
            "python": None if template.python is None else str(template.python),
            "environment": None if template.environment is None else str(template.environment),
            "links": dict(template.links),
            "limits": resource_limits(spec, bound_memory=not self._kernel_bounds_memory),
            "bounded": "cpu" in self._keeper.cgroups.controllers,
            "cgroups": [] if record.group is None else record.group.directories,
            **self._archive.plan(record),
            **self._networks.plan(spec.network),
        }

    async def _probe(self) -> None:
        """Make a sandbox, doing without cgroups that cannot be entered."""
        while True:
            spec = SandboxSpec(f"probe-{secrets.token_hex(8)}", "minimal", 1, 64, 64)
            try:
                sandbox = await self.create(spec)
            except AgentStartError as error:
                if not self._keeper.cgroups.drop(error.call):
                    raise EngineUnavailableError(explain(error)) from error
            except EngineError as error:
                raise EngineUnavailableError(str(error)) from error
            else:
                await self._archive.probe(sandbox, spec, self.create, self.destroy)
                await self.destroy(spec.id)
                break
        if "outbound" in self._networks.offered:
            spec = replace(spec, id=f"probe-{secrets.token_hex(8)}", network="outbound")
            try:
                _ = await self.create(spec)
            except EngineError as error:
                self._networks.withdraw("outbound", str(error))
            else:
                await self.destroy(spec.id)

    def _describe(self) -> EngineCapabilities:
        controllers = self._keeper.cgroups.controllers
        missing = sorted({"memory", "pids", "cpu"} - controllers)
        reason = f"this server may not make control groups for {', '.join(missing)}"
        reasons = [reason if missing else None, self._networks.reason]
        return EngineCapabilities(
            engine="local",
            level="full",
            templates=sorted(self._templates.present),
            limits=EnforcedLimits(
                memory="cgroup" if "memory" in controllers else "watchdog",
                pids="cgroup" if "pids" in controllers else "rlimit",
                cpu="cgroup" if "cpu" in controllers else "none",
                disk="watchdog",
            ),
            namespaces=namespaces.NAMES,
            seccomp=True,
            no_new_privileges=True,
            capabilities_dropped=True,
            private_uid=self._identities.are_private,
            network=self._networks.offered,
            pause="freeze" if FREEZE in controllers else "stop",
            snapshot="overlay" if self._archive.captures.share else "copy",
            reattach=self._outlived,
            reason="; ".join(filter(None, reasons)) or None,
            missing=self._templates.missing,
        )
