"""Engines: what keeps sandboxes. `base` says what one must do."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from .base import Engine, EngineError, SandboxSpec
from .local import LocalEngine
from .local.watchdog import Reserve
from .process import ProcessEngine

__all__ = ["make_engine"]

Network = IPv4Network | IPv6Network


def make_engine(
    name: str,
    data_dir: Path,
    *,
    ephemeral: bool = False,
    templates_dir: Path | None = None,
    warm: Sequence[SandboxSpec] = (),
    warm_memory_mb: int = 1024,
    warm_adapt: bool = False,
    orphan_timeout: float = 0.0,
    disk_reserve_mb: int = 512,
    networks: Sequence[str] = ("none", "outbound"),
    outbound_allow: Sequence[Network] = (),
) -> Engine:
    """Return an engine that is not started yet.

    Args:
        name: `local`; `process`, which isolates nothing; or `auto`, the strongest that this version
            has, which is never one without isolation.
        data_dir: Directory of its own.
        ephemeral: Whether the directory is removed when the engine ends, however that comes about.
        templates_dir: Directory of installed templates to search before the usual ones.
        warm: What sandboxes to keep prepared, one by one.
        warm_memory_mb: How much memory prepared ones may use together, in MiB.
        warm_adapt: Whether to keep prepared what has been asked for lately, too.
        orphan_timeout: Seconds that sandboxes wait for another engine if this one is killed; with
            0 they end with it, as those of the process engine always do.
        disk_reserve_mb: MiB of the disk that sandboxes must leave free.
        networks: Network modes to offer, where they work.
        outbound_allow: Networks besides the internet that the mode `outbound` may reach.

    Raises:
        EngineError: There is no such engine, or it cannot do that.
    """
    if name in ("auto", "local"):
        return LocalEngine(
            data_dir,
            ephemeral=ephemeral,
            templates_dir=templates_dir,
            warm=warm,
            warm_memory_mb=warm_memory_mb,
            warm_adapt=warm_adapt,
            orphan_timeout=orphan_timeout,
            reserve=Reserve(disk=disk_reserve_mb << 20),
            networks=networks,
            outbound_allow=outbound_allow,
        )
    if name == "process":
        if warm:
            raise EngineError("the process engine keeps no sandboxes prepared")
        return ProcessEngine(data_dir, ephemeral=ephemeral)
    raise EngineError(f"there is no engine {name!r}; there are auto, local and process")
