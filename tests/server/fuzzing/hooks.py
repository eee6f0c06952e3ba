"""What schemathesis is told of the contract beyond `openapi.yaml`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import schemathesis

MOST_SANDBOXES = 30
_made: list[str] = []


@schemathesis.hook
def before_load_schema(_context: object, document: dict[str, Any]) -> None:
    """Say what `openapi.yaml` says in words: what a null is, and how large ids are."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Request"):
            for field, each in schema["properties"].items():
                if field not in schema.get("required", ()):
                    schema["properties"][field] = {"anyOf": [each, {"type": "null"}]}
    text = json.dumps(document).replace("-[0-9a-z]{25}", "-[0-9a-e][0-9a-z]{24}")
    document.update(json.loads(text))


@schemathesis.hook
def map_body(_context: object, body: Any) -> Any:
    """Write integers without a point, which to JSON Schema are integers all the same."""
    if isinstance(body, dict):
        return {name: map_body(_context, each) for name, each in body.items()}
    if isinstance(body, list):
        return [map_body(_context, each) for each in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


@schemathesis.hook
def before_call(_context: object, case: Any, **_more: object) -> None:
    """Leave the team alone that all this is done in, whatever the server told of it."""
    operation = case.operation.definition.raw["operationId"]
    harms = operation in ("deleteTeam", "deleteAnyTeam", "setTeamByoc")
    if harms and case.path_parameters.get("id") == os.environ["SANDLOT_FUZZING_TEAM"]:
        case.path_parameters["id"] = "team-0000000000000000000000001"


@schemathesis.hook
def after_call(_context: object, case: Any, response: Any) -> None:
    """Destroy the oldest sandboxes when there are many: nothing else bounds how many are made."""
    if response.status_code != 201:
        return
    _made.extend(_sandboxes(response.json()))
    if len(_made) > MOST_SANDBOXES:
        oldest = _made[: MOST_SANDBOXES // 2]
        del _made[: len(oldest)]
        answer = httpx.post(
            f"{case.operation.base_url}/v1/sandboxes/stop",
            json={"sandbox_ids": oldest},
            headers={"Authorization": f"Bearer {os.environ['SANDLOT_FUZZING_TOKEN']}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text


def _sandboxes(body: Any) -> Iterator[str]:
    for each in body if isinstance(body, list) else [body]:
        if str(each.get("id", "")).startswith("cl-"):
            yield each["id"]
