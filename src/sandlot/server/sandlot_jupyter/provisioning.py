"""Starting kernels by forking, where that comes to the same as starting an interpreter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from .forking import ForkedProcess, ForkServer

__all__ = ["NAME", "ForkProvisioner", "register"]

NAME = "sandlot-fork"
"""What Jupyter knows the provisioner by."""

_MODULES = {"bash_kernel", "ipykernel_launcher"}
_MOMENT = 0.002
_USUAL = {"cwd", "env", "extra_arguments", "kernel_id"}


class ForkProvisioner(LocalProvisioner):
    """Forks kernels that are modules of this environment; others are started as usual."""

    server: ClassVar[ForkServer | None] = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start a kernel."""
        if self.server is not None and len(cmd) > 3 and _is_forkable(cmd, kwargs):
            cwd: str = kwargs.get("cwd") or os.getcwd()
            sockets = _sockets(self.connection_info)
            for path in sockets:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # what an earlier kernel left
            try:
                process = self.server.start(cmd[2], cmd[3:], kwargs["env"], cwd)
            except OSError as error:
                self.log.warning("A kernel could not be forked: %s", error)
            else:
                # The base class is annotated as if it never had a process.
                vars(self).update(process=process, pid=process.pid, pgid=process.pid, cwd=cwd)
                await _wait_bound(process, sockets)
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)


def _sockets(info: KernelConnectionInfo) -> list[str]:
    """Return the paths of the sockets that a kernel will listen on."""
    if info.get("transport") != "ipc":
        return []
    ports = (value for name, value in info.items() if name.endswith("_port"))
    return [f"{info.get('ip')}-{port}" for port in ports]


async def _wait_bound(process: ForkedProcess, sockets: list[str]) -> None:
    """Wait until a kernel listens: who comes too early is let wait for longer by the library."""
    while process.poll() is None:
        if all(map(os.path.exists, sockets)):
            return
        await asyncio.sleep(_MOMENT)


def register(server: ForkServer) -> None:
    """Let Jupyter know of the provisioner."""
    ForkProvisioner.server = server
    place = f"{__name__}:{ForkProvisioner.__name__}"
    entry_point = EntryPoint(NAME, place, KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.provisioners[NAME] = entry_point


def _is_forkable(cmd: list[str], kwargs: dict[str, Any]) -> bool:
    """Whether a command runs a known module, and an interpreter would begin like this one."""
    here = os.path.dirname(sys.executable)
    program, option, module = cmd[:3]
    env: dict[str, str] = kwargs.get("env") or {}
    return (
        os.path.dirname(program) in ("", here)
        and option == "-m"
        and module in _MODULES
        and kwargs.keys() <= _USUAL
        and all(
            env.get(name) == os.environ.get(name)
            for name in {*env, *os.environ}
            if name.startswith(("PYTHON", "LD_"))
        )
    )
