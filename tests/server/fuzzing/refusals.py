"""What the server may refuse although `openapi.yaml` allows it: what no schema can say.

Each refusal is told by its words, so that a 400 for anything else is found.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_expected"]

_PLACE = (
    # What there is at a path, and what one path is to another.
    r".*: (Is|not) a directory$",
    r".*: (not a regular file|Invalid argument)$",
    r".*: there is a file of this name$",
    r".*: it cannot (go into itself|replace what it is in)$",
    r".*: Too many levels of symbolic links$",
    # The kernel measures names in bytes.
    r".*: File name too long$",
    # In base64.
    r"path: must not contain NUL",
)
_UPLOAD = (r"path: is missing\.", *_PLACE)  # it may be in the query or in the form
_CURSOR = (r"cursor: is not one that this server gave\.",)  # how the server writes them
_UPGRADE = (r"This path speaks WebSocket",)  # that a handshake is needed
_CONFIG = (r"config: is not what \w+ needs\.",)  # what the services make of their addresses

_REFUSALS: Final[dict[str, tuple[str, ...]]] = {
    "addMember": (r"email: this user is already a member\.",),
    "archiveFiles": _PLACE,
    "cancelBuild": (r"The build has ended",),  # a 400 as with original servers
    "changeFileMode": _PLACE,
    "copyFile": _PLACE,
    "createApiKey": (r"expires_at: must be a time to come",),
    # That the field `config` of a form is JSON, and what it says.
    "createBuild": (
        r"body: ",
        r"name: Field required",
        r"recipe: ",
        r"healthcheck: ",
        r"archive: ",
        r".*: came twice\.$",
    ),
    "createChannel": _CONFIG,
    "createSandbox": (r"template: the snapshot '.*' is of the template '.*'\.",),
    "deleteAccount": (r"confirmation: must be the address of the account\.",),
    "execCommand": (r"there is no user ",),  # which the template says
    "extractFiles": (r".*: (this is no tar|the archive|a header of the archive) ", *_UPLOAD),
    "getUsage": (r"from: must be 0 to 92 days before to\.", r"to: is too early\."),
    "listBuilds": _CURSOR,
    "listDeliveries": _CURSOR,
    "listFiles": _PLACE,
    "listSandboxes": _CURSOR,
    "makeDirectory": _PLACE,
    "moveFile": _PLACE,
    "openTerminal": _UPGRADE,
    "readFile": _PLACE,
    "removeFile": _PLACE,
    "renewLease": (r"The sandbox has no lease",),
    "rotateChannelConfig": (r"config",),  # the provider is the channel's
    "setUserActive": (r"id: you cannot keep yourself out\.",),
    "statFile": _PLACE,
    "streamCommand": _UPGRADE,
    "streamProcess": _UPGRADE,
    "streamReadFile": _PLACE,
    "streamWriteFile": _UPLOAD,
    "testChannel": _CONFIG,
    "writeFile": _UPLOAD,
}


def is_expected(operation: str, message: str) -> bool:
    """Tell whether an operation may refuse what the contract allows with these words."""
    return any(re.match(each, message, re.DOTALL) for each in _REFUSALS.get(operation, ()))
