"""Network modes: what sandboxes have of the network.

- `none`: a loopback interface of their own.
- `outbound`: that, and connections to the internet (`outbound`).
- `full`: the network of this machine, as if there were no sandbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from sandlot.server.engine.base import EngineError, SandboxGoneError, UnsuitableError
from sandlot.server.guest import firewall, wire

from .agent import AgentClient
from .destinations import Destinations, Network, has_route
from .names import find_servers
from .outbound import Exchange, Outbound
from .templates import Template

__all__ = ["MODES", "Networks"]

logger = logging.getLogger("sandlot.server.engine")

MODES = ("none", "outbound", "full")

_LONGEST_FILE = 64 * 1024


class Networks:
    """The modes that an engine offers.

    Args:
        offered: Their names; `none` is always among them.
        allowed: Networks besides the internet that `outbound` may reach.
    """

    def __init__(self, offered: Sequence[str], allowed: Sequence[Network]) -> None:
        self._offered = {"none", *offered}
        self._exchange = Exchange(Destinations(allowed), find_servers)
        self._reason: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def offered(self) -> Sequence[str]:
        """What can be asked for."""
        return [mode for mode in MODES if mode in self._offered]

    @property
    def reason(self) -> str | None:
        """Why something cannot that was to be offered."""
        return self._reason

    def withdraw(self, mode: str, reason: str) -> None:
        """Offer a mode no longer: it does not work here."""
        self._offered.discard(mode)
        self._reason = f"there is no network mode {mode}: {reason}"

    def check(self, mode: str, template: Template) -> None:
        """Check that there can be a sandbox of this mode.

        Raises:
            UnsuitableError: There cannot.
        """
        if mode not in self._offered:
            raise UnsuitableError(f"there is no network mode {mode!r}")
        if mode == "full" and template.service is not None:
            raise UnsuitableError(
                "what this template starts would be open to all programs of the host in the"
                " network mode 'full'"
            )

    def plan(self, mode: str) -> wire.Message:
        """Return what the zygote has to know."""
        plan = {"network": mode, "v6": mode == "outbound" and has_route()}
        if mode == "outbound":
            return {**plan, "etc": {"resolv.conf": f"nameserver {firewall.NAME_SERVER}\n"}}
        if mode == "full":
            names = _read("/etc/hosts") + "127.0.0.1 sandbox\n"
            return {**plan, "etc": {"resolv.conf": _read("/etc/resolv.conf"), "hosts": names}}
        return {**plan, "etc": {}}

    async def connect(self, mode: str, agent: AgentClient) -> None:
        """Do for a sandbox that is there what its mode needs.

        Raises:
            EngineError: That is not possible.
        """
        if mode == "outbound":
            _ = await Outbound.open(agent, self._exchange)

    def reconnect(self, mode: str, agent: AgentClient) -> None:
        """Do so, once its agent answers, for a sandbox that outlived another server.

        A mode that is offered no more is lost.
        """
        if mode == "outbound" and mode in self._offered:
            task = asyncio.create_task(self._try_to_connect(mode, agent))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _try_to_connect(self, mode: str, agent: AgentClient) -> None:
        try:
            await self.connect(mode, agent)
        except SandboxGoneError:
            return
        except EngineError as error:
            logger.warning("a sandbox has lost its way to the internet: %s", error)


def _read(path: str) -> str:
    try:
        return f"{Path(path).read_text(errors='replace')[:_LONGEST_FILE].rstrip()}\n"
    except OSError:
        return ""
