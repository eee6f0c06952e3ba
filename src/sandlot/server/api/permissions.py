"""Who may use which route, and what the audit log says of it.

This table is all there is: a route that is not in it can be used by nobody. Handlers only check
what depends on more than route and role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from starlette.types import Scope

from sandlot.server.services.audit import Audited
from sandlot.server.services.errors import ForbiddenError, UnauthorizedError
from sandlot.server.services.principals import Principal

__all__ = ["PORTS", "RULES", "Rule", "check", "methods_of", "route_of", "rule_of"]

_RANKS: Final = {"member": 1, "admin": 2, "owner": 3}


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a route.

    Attributes:
        scope: What an API key must be made for; None if no credential is needed at all.
        role: The least role in the team; that of a key is its maker's.
        platform: Whether one must administer the platform.
        person: Whether a user has to ask with a token: keys do not do it on their behalf.
        host: Whether it is for hosts, and for nobody else.
        audited: What the audit log says; None for what changes nothing that lasts.
        late: Whether a WebSocket's first message may say who asks, if its headers do not.
    """

    scope: str | None
    role: Literal["member", "admin", "owner"] | None = None
    platform: bool = False
    person: bool = False
    host: bool = False
    audited: Audited | None = None
    late: bool = False


def _sandbox(action: str, status: Literal["success", "info", "warning"] = "success") -> Rule:
    return Rule("sandboxes", audited=Audited("sandbox", action, status))


def _channel(audited: Audited | None = None) -> Rule:
    return Rule("channels", "member", audited=audited)


def _build(audited: Audited | None = None) -> Rule:
    return Rule("admin", platform=True, audited=audited)


def _own_account(audited: Audited) -> Rule:
    return Rule("users", "member", person=True, audited=audited)


def _host(audited: Audited | None = None) -> Rule:
    return Rule("hosts", "member", audited=audited)  # what more it takes depends on the host


_READ = Rule("sandboxes")
PORTS: Final = _READ
"""For what is addressed to a port of a sandbox, whose paths are its own."""
_OPEN = Rule(None)
_BOX = "/v1/sandboxes/{id}"
_TEAM = "/v1/teams/{id}"
_CHANNEL = "/v1/channels/{id}"
_BUILD = "/v1/admin/builds/{id}"
_HOST = "/v1/hosts/{id}"

RULES: Final[Mapping[str, Rule]] = {
    "GET /health": _OPEN,
    "GET /healthz": _OPEN,
    "GET /openapi.yaml": _OPEN,
    "GET /v1/capabilities": _READ,
    # Sandboxes
    "POST /v1/sandboxes": _sandbox("create"),
    "GET /v1/sandboxes": _READ,
    "GET /v1/sandboxes/stats": _READ,
    "GET /v1/sandboxes/usage": _READ,
    "POST /v1/sandboxes/stop": _sandbox("stop_many", "warning"),
    f"GET {_BOX}": _READ,
    f"DELETE {_BOX}": _sandbox("destroy", "warning"),
    f"POST {_BOX}/ping": _READ,
    f"POST {_BOX}/lease": _READ,
    f"POST {_BOX}/pause": _sandbox("pause"),
    f"POST {_BOX}/resume": _sandbox("resume"),
    f"GET {_BOX}/metrics": _READ,
    f"POST {_BOX}/exec": _sandbox("exec"),
    f"GET {_BOX}/exec/stream": _READ,
    f"WEBSOCKET {_BOX}/exec/stream": _sandbox("exec"),
    f"GET {_BOX}/processes": _READ,
    f"DELETE {_BOX}/processes/{{selector}}": _sandbox("kill_process"),
    f"GET {_BOX}/processes/{{selector}}/stream": _READ,
    f"WEBSOCKET {_BOX}/processes/{{selector}}/stream": Rule("sandboxes", late=True),
    f"GET {_BOX}/pty": _READ,
    f"WEBSOCKET {_BOX}/pty": Rule("sandboxes", audited=Audited("sandbox", "pty"), late=True),
    f"POST {_BOX}/files/write": _sandbox("write_file"),
    f"POST {_BOX}/files/read": _READ,
    f"POST {_BOX}/files/stream/write": _sandbox("write_file"),
    f"POST {_BOX}/files/stream/read": _READ,
    f"POST {_BOX}/files/list": _READ,
    f"POST {_BOX}/files/stat": _READ,
    f"POST {_BOX}/files/mkdir": _sandbox("make_directory"),
    f"POST {_BOX}/files/remove": _sandbox("remove_file", "warning"),
    f"POST {_BOX}/files/move": _sandbox("move_file"),
    f"POST {_BOX}/files/copy": _sandbox("copy_file"),
    f"POST {_BOX}/files/chmod": _sandbox("change_file_mode"),
    f"POST {_BOX}/files/archive": _READ,
    f"POST {_BOX}/files/extract": _sandbox("extract_files"),
    f"POST {_BOX}/fork": _sandbox("fork"),
    f"POST {_BOX}/checkpoints": _sandbox("create_checkpoint"),
    f"GET {_BOX}/checkpoints": _READ,
    f"DELETE {_BOX}/checkpoints/{{checkpoint}}": _sandbox("delete_checkpoint", "warning"),
    f"POST {_BOX}/rollback": _sandbox("rollback", "warning"),
    f"GET {_BOX}/changes": _READ,
    # Snapshots
    "POST /v1/snapshots": Rule("sandboxes", audited=Audited("snapshot", "create")),
    "GET /v1/snapshots": _READ,
    "GET /v1/snapshots/{name}": _READ,
    "DELETE /v1/snapshots/{name}": Rule(
        "sandboxes", audited=Audited("snapshot", "delete", "warning", resource="name")
    ),
    # Accounts
    "POST /v1/auth/signup": Rule(None, audited=Audited("user", "signup", "info", "admin")),
    "POST /v1/auth/login": _OPEN,
    "POST /v1/auth/switch-team": Rule("teams", "member"),
    "GET /v1/users/search": Rule("users", "member"),
    "GET /v1/me": Rule("users", "member"),
    "PATCH /v1/me": _own_account(Audited("user", "rename", "info")),
    "DELETE /v1/me": _own_account(Audited("user", "delete", "warning", "admin")),
    "POST /v1/me/password": _own_account(Audited("user", "set_password", "info", "admin")),
    # API keys
    "POST /v1/api-keys": Rule("api_keys", "member", audited=Audited("api_key", "create")),
    "GET /v1/api-keys": Rule("api_keys", "member"),
    "DELETE /v1/api-keys/{id}": Rule(
        "api_keys", "member", audited=Audited("api_key", "revoke", "warning")
    ),
    # Teams
    "POST /v1/teams": Rule("teams", "member", audited=Audited("team", "create")),
    "GET /v1/teams": Rule("teams", "member"),
    f"GET {_TEAM}": Rule("teams", "member"),
    f"PATCH {_TEAM}": Rule("teams", "admin", audited=Audited("team", "rename", "info")),
    f"DELETE {_TEAM}": Rule("teams", "owner", audited=Audited("team", "delete", "warning")),
    f"GET {_TEAM}/members": Rule("teams", "member"),
    f"POST {_TEAM}/members": Rule(
        "teams", "admin", audited=Audited("member", "add", scope="admin", resource="user_id")
    ),
    f"PATCH {_TEAM}/members/{{user_id}}": Rule(
        "teams",
        "admin",
        audited=Audited("member", "role_update", "info", "admin", resource="user_id"),
    ),
    f"DELETE {_TEAM}/members/{{user_id}}": Rule(
        "teams", "admin", audited=Audited("member", "remove", "warning", "admin", "user_id")
    ),
    f"POST {_TEAM}/leave": Rule(
        "teams", "member", audited=Audited("member", "leave", "info", "admin", "user_id")
    ),
    # Channels
    "POST /v1/channels": _channel(Audited("channel", "create")),
    "GET /v1/channels": _channel(),
    "POST /v1/channels/test": _channel(),
    f"GET {_CHANNEL}": _channel(),
    f"PATCH {_CHANNEL}": _channel(Audited("channel", "update", "info")),
    f"DELETE {_CHANNEL}": _channel(Audited("channel", "delete", "warning")),
    f"PUT {_CHANNEL}/config": _channel(Audited("channel", "rotate_config", "info")),
    f"GET {_CHANNEL}/deliveries": _channel(),
    # Builds
    "POST /v1/admin/builds": _build(Audited("build", "create", scope="admin")),
    "GET /v1/admin/builds": _build(),
    f"GET {_BUILD}": _build(),
    f"GET {_BUILD}/log": _build(),
    f"POST {_BUILD}/cancel": _build(Audited("build", "cancel", "warning", "admin")),
    # The platform
    "GET /v1/admin/teams": Rule("admin", platform=True),
    "DELETE /v1/admin/teams/{id}": Rule(
        "admin", platform=True, audited=Audited("team", "delete", "warning", "admin")
    ),
    "GET /v1/admin/users": Rule("admin", platform=True),
    "PUT /v1/admin/users/{id}/active": Rule(
        "admin", platform=True, audited=Audited("user", "set_active", "warning", "admin")
    ),
    "GET /v1/admin/audit-logs": Rule("admin", platform=True),
    # Hosts
    "POST /v1/hosts": _host(Audited("host", "create", scope="admin")),
    "GET /v1/hosts": _host(),
    f"GET {_HOST}": _host(),
    f"DELETE {_HOST}": _host(Audited("host", "delete", "warning", "admin")),
    f"GET {_HOST}/delete-preview": _host(),
    f"POST {_HOST}/token": _host(Audited("host", "regenerate_token", "info", "admin")),
    f"GET {_HOST}/tags": _host(),
    f"POST {_HOST}/tags": _host(Audited("host", "add_tag", "info", "admin")),
    f"DELETE {_HOST}/tags/{{tag}}": _host(Audited("host", "remove_tag", "info", "admin")),
    "POST /v1/hosts/register": Rule(None, audited=Audited("host", "register", scope="admin")),
    "POST /v1/hosts/auth/refresh": _OPEN,
    f"POST {_HOST}/heartbeat": Rule(None, host=True),
    # Administration of the platform
    "PUT /v1/admin/teams/{id}/byoc": Rule(
        "admin", platform=True, audited=Audited("team", "set_byoc", "info", "admin")
    ),
    "GET /v1/admin/templates": Rule("admin", platform=True),
    "DELETE /v1/admin/templates/{name}": Rule(
        "admin",
        platform=True,
        audited=Audited("template", "delete", "warning", "admin", resource="name"),
    ),
    # The audit log
    "GET /v1/audit-logs": Rule("audit", "member"),
}
"""By method and path; `/v1/capsules` is `/v1/sandboxes`."""


_PATHS: Final = frozenset(route.partition(" ")[2] for route in RULES)


def rule_of(scope: Scope) -> Rule | None:
    """Return the rule for a request that was routed."""
    return RULES.get(f"{scope.get('method', 'WEBSOCKET')} {_path_of(scope)}")


def methods_of(scope: Scope) -> Sequence[str]:
    """Return the methods that the path of a request takes."""
    path = _path_of(scope)
    return [
        method
        for method, _, each in (route.partition(" ") for route in RULES)
        if each == path and method != "WEBSOCKET"
    ]


def _path_of(scope: Scope) -> str:
    """Return what the rules call a path: as it is, or else the pattern that it matched."""
    pattern, path = (
        each.replace("/v1/capsules", "/v1/sandboxes", 1)
        for each in (route_of(scope) or "", scope["path"])
    )
    # `/v1/sandboxes/stats` looks like a sandbox to other methods than its own.
    return path if path in _PATHS else pattern


def route_of(scope: Scope) -> str | None:
    """Return the pattern that a path matched; None if it matched none."""
    route = scope.get("route")
    if route is None:
        return None
    pattern: str = route.path  # without the prefix of its router
    head = scope["path"].split("/")[: -pattern.count("/") or None]
    return "/".join(head) + pattern


def check(rule: Rule, caller: Principal) -> None:
    """Check that somebody may use a route.

    Raises:
        UnauthorizedError: Their credential is of no use there.
        ForbiddenError: They may not.
    """
    if rule.host or rule.scope is None:
        return  # who is a host was found out already
    if caller.kind == "api_key" and rule.scope not in caller.scopes:
        raise UnauthorizedError(
            f"This API key was not made for this: use a key with the scope {rule.scope!r}, or a"
            " user's token."
        )
    if rule.person and caller.kind != "user":
        raise UnauthorizedError("Only a user can do that, with a token: log in.")
    if rule.role is not None and _RANKS.get(caller.role or "", 0) < _RANKS[rule.role]:
        raise ForbiddenError(f"For this one has to be {rule.role} of the team, or more.")
    if rule.platform and not caller.is_admin:
        raise ForbiddenError("Only administrators of the platform may do that.")
