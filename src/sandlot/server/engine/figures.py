"""What is told of the machines that sandboxes are on, and of what sandboxes use of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Node", "Usage"]


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that sandboxes can be on; what is not known is None.

    Attributes:
        name: What the engine calls it: unique among its nodes, and the same in its next life.
        arch: Architecture, as the kernel calls it.
        cpu_cores: Processors that sandboxes can use there.
        memory_mb: MiB of memory that they can use.
        disk_gb: GiB of the disk that they are on.
        address: What people know it by in their network.
    """

    name: str
    arch: str | None = None
    cpu_cores: int | None = None
    memory_mb: int | None = None
    disk_gb: int | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of resources by a sandbox at one time.

    Attributes:
        cpu_seconds: CPU time used since the sandbox was made.
        memory_bytes: Memory in use.
        disk_bytes: Disk in use.
    """

    cpu_seconds: float
    memory_bytes: int
    disk_bytes: int
