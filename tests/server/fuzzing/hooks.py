"""What schemathesis is told of the contract beyond `openapi.yaml`."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import schemathesis
from refusals import is_expected

MOST_SANDBOXES = 30
_made: list[str] = []
_KEY = "Idempotency-Key"
_HOST = re.compile(r"^(https?://)(?:[\w.-]+|\[[^\]]*\])", re.IGNORECASE)
_numbers = itertools.count()


@schemathesis.hook
def before_load_schema(_context: object, document: dict[str, Any]) -> None:
    """Say what `openapi.yaml` says in words: what is as good as nothing, and how large ids are."""
    text = json.dumps(document).replace("-[0-9a-z]{25}", "-[0-9a-e][0-9a-z]{24}")
    document.update(json.loads(text))
    for item in document["paths"].values():
        for part in (item, *(each for each in item.values() if isinstance(each, dict))):
            for each in part.get("parameters", ()):
                plain = each.get("in") == "query" and each["schema"]["type"] != "array"
                if plain and not each.get("required"):
                    each["schema"] = _or_nothing(each["schema"], {"type": "string", "maxLength": 0})
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Request"):
            for field, each in schema["properties"].items():
                if field not in schema.get("required", ()):
                    schema["properties"][field] = _or_nothing(each, {"type": "null"})


def _or_nothing(schema: dict[str, Any], nothing: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, nothing]}


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
    """Leave alone the team that all this is done in, and the world; vary what repeats itself."""
    operation = case.operation.definition.raw["operationId"]
    key = (case.headers or {}).get(_KEY)
    if key is not None and re.fullmatch("[A-Za-z0-9_:.-]{1,64}", key):
        # The same few keys are generated over and over: three of four name a request of their own.
        number = next(_numbers)
        case.headers[_KEY] = f"{key}-{number}" if number % 4 else key
    if operation in ("createChannel", "rotateChannelConfig", "testChannel"):
        _leave_alone(case.body)
    harms = operation in ("deleteTeam", "deleteAnyTeam", "setTeamByoc")
    if harms and case.path_parameters.get("id") == os.environ["SANDLOT_FUZZING_TEAM"]:
        case.path_parameters["id"] = "team-0000000000000000000000001"


@schemathesis.check
def says_why_valid_data_is_refused(_context: object, response: Any, case: Any) -> None:
    """Hold a 400 for what the contract allows against what no schema can say."""
    if response.status_code != 400 or case.meta is None:
        return
    operation = case.operation.definition.raw["operationId"]
    message = response.json()["error"]["message"]
    if case.meta.generation.mode.is_positive and not is_expected(operation, message):
        raise AssertionError(f"{operation} refuses what the contract allows: {message}")


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


def _leave_alone(body: Any) -> None:
    """Have nothing sent to anybody: to a name that there is not (RFC 6761, 6.4), as no bot."""
    config = body.get("config") if isinstance(body, dict) else None
    for name, value in (config if isinstance(config, dict) else {}).items():
        if isinstance(value, str):
            config[name] = _HOST.sub(r"\1nobody.invalid", value)
        if name == "bot_token" and isinstance(value, str) and value:
            config[name] = "nobody"


def _sandboxes(body: Any) -> Iterator[str]:
    for each in body if isinstance(body, list) else [body]:
        if str(each.get("id", "")).startswith("cl-"):
            yield each["id"]
