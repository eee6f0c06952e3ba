"""The program that speaks to chat services, by means of Apprise.

It is a process of its own because what chat services are asked and answer is not in our hands: it
can be killed when it hangs, its memory is bounded, and a guard beneath all libraries judges every
address that it connects to. It holds nothing but the messages that it is given.

It reads requests and writes answers, a JSON object a line, and ends with its input.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from operator import methodcaller
from typing import Any, Final, Literal, TextIO
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from apprise import Apprise, AppriseAsset, NotifyBase, PersistentStoreMode

from .targets import Targets

__all__ = ["Answer", "main", "plugin_for"]

_MEMORY = 1 << 30
_AT_ONCE = 16
_STATUS = re.compile(r"\berror=([1-5][0-9][0-9])\b")

_KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "discord": (),
    "slack": (),
    "teams": ("api-version", "sig", "sp", "sv"),
    "googlechat": ("key", "token", "threadKey"),
}
"""Query parameters that belong to the URL of a service. Of others Apprise would make options of
its own: files of this machine as templates, certificates unchecked, redirects followed."""
_PLUGINS: Final[Mapping[str, str]] = {
    "discord": "NotifyDiscord",
    "slack": "NotifySlack",
    "teams": "NotifyWorkflows",
    "googlechat": "NotifyGoogleChat",
    "telegram": "NotifyTelegram",
    "matrix": "NotifyMatrix",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Attributes:
        problem: `config` if the configuration makes no sense, `failed` if the service did not take
            the message; None if all is well.
        status: HTTP status of the service's answer, if it had one.
    """

    id: int
    problem: Literal["config", "failed"] | None = None
    status: int | None = None


def plugin_for(provider: str, config: Mapping[str, str]) -> NotifyBase | None:
    """Return what sends to a service; None if the configuration makes no sense."""
    asset = AppriseAsset(
        app_id="Sandlot",
        app_desc="Sandlot",
        async_mode=False,
        http_redirects=False,
        interpret_emojis=False,
        interpret_escapes=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    described = _describe(provider, config)
    # Called by name because Apprise annotates it in part only.
    plugin: object = methodcaller("instantiate", described, asset=asset)(Apprise)
    if isinstance(plugin, NotifyBase) and type(plugin).__name__ == _PLUGINS[provider]:
        return plugin
    return None


def _describe(provider: str, config: Mapping[str, str]) -> str | dict[str, Any]:
    if provider == "telegram":
        return {
            "schema": "tgram",
            "bot_token": config["bot_token"],
            "targets": [config["chat_id"]],
            "detect_owner": False,
        }
    if provider == "matrix":
        server = urlsplit(config["homeserver_url"])
        return {
            "schema": "matrixs" if server.scheme == "https" else "matrix",
            "host": server.hostname,
            "port": server.port,
            "password": config["access_token"],  # what Apprise takes for a token without a user
            "targets": [config["room_id"]],
            "mode": "off",
            "discovery": False,
            "e2ee": False,
        }
    parts = urlsplit(config["webhook_url"])
    query = [pair for pair in parse_qsl(parts.query) if pair[0] in _KEPT[provider]]
    return urlunsplit(("https", parts.netloc, parts.path, urlencode(query), ""))


class _StatusLog(logging.Handler):
    """Notes the HTTP status that Apprise logs when a service refuses; it tells it nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the status out of a message; the rest may have secrets in it."""
        if found := _STATUS.search(record.getMessage()):
            self.seen.status = int(found[1])


class _Desk:
    """Does what is asked, several things at a time."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._statuses = _StatusLog()
        log = logging.getLogger("apprise")
        log.handlers[:] = [self._statuses]
        log.propagate = False

    def handle(self, line: str) -> None:
        """Do what a line asks for, and answer it."""
        request: dict[str, Any] = json.loads(line)
        self._statuses.seen.status = None
        try:
            problem = self._perform(request)
        except Exception:
            # Whatever a service can make Apprise stumble over: the message did not go out.
            problem = "failed"
        status: int | None = self._statuses.seen.status
        with self._lock:
            print(json.dumps(asdict(Answer(request["id"], problem, status))), file=self._answers)
            self._answers.flush()

    def _perform(self, request: dict[str, Any]) -> Literal["config", "failed"] | None:
        plugin = plugin_for(request["provider"], request["config"])
        if plugin is None:
            return "config"
        if request["do"] == "check":
            return None
        return None if plugin.notify(body=request["text"], title=request["title"]) else "failed"


def guard_connections(targets: Targets) -> None:
    """Have every connection of this process refused that does not go to a permitted address."""

    def judge(event: str, arguments: Sequence[Any]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            sock, address = arguments
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                raise PermissionError("no such sockets here")
            if not targets.permits(str(address[0])):
                raise PermissionError("this address may not be connected to")

    sys.addaudithook(judge)


def main(
    arguments: Sequence[str], requests: TextIO, answers: TextIO, end: Callable[[int], object]
) -> None:
    """Serve until the requests end; the arguments are the networks that are allowed."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    guard_connections(Targets([ip_network(text) for text in arguments]))
    desk = _Desk(answers)
    workers = ThreadPoolExecutor(_AT_ONCE)
    for line in requests:
        _ = workers.submit(desk.handle, line)
    _ = end(0)  # at once, whatever still hangs


if __name__ == "__main__":
    # Nothing that a library prints may come between the answers.
    with os.fdopen(os.dup(1), "w") as own_output:
        _ = os.dup2(2, 1)
        main(sys.argv[1:], sys.stdin, own_output, os._exit)
