"""Holding answers against `openapi.yaml`."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import httpx
import yaml
from jsonschema import Draft202012Validator

_FILE = Path(__file__).parents[2] / "internal" / "api" / "openapi.yaml"


class Contract:
    """The contract, more strictly than it is written: no fields that it does not name, no nulls."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = copy.deepcopy(document)
        for schema in self._document["components"]["schemas"].values():
            _close(schema)
        self._operations = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), item)
            for path, item in sorted(document["paths"].items(), key=lambda pair: "{" in pair[0])
        ]

    @classmethod
    def load(cls) -> Contract:
        return cls(yaml.safe_load(_FILE.read_text()))

    def check(self, response: httpx.Response) -> None:
        """Assert that an answer is one that the contract allows."""
        request = response.request
        assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", response.headers["x-request-id"])
        allowed = self._response(request.method, request.url.path, response.status_code)
        if response.status_code == 204:
            assert response.read() == b""
            return
        content_type = response.headers["content-type"]
        content = allowed["content"]
        assert content_type in content, f"{content_type} is not among {list(content)}"
        if content_type == "application/json":
            response.read()
            self.validate(response.json(), content[content_type]["schema"])

    def validate(self, value: object, schema: dict[str, Any]) -> None:
        """Assert that a value is as a schema says."""
        validator = Draft202012Validator(
            {**schema, "components": self._document["components"]},
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        assert not problems, problems
        assert not _nulls(value), value

    def validate_named(self, value: object, name: str) -> None:
        """Assert that a value is as a named schema says."""
        self.validate(value, {"$ref": f"#/components/schemas/{name}"})

    def _response(self, method: str, path: str, status: int) -> dict[str, Any]:
        path = path.replace("/v1/capsules", "/v1/sandboxes", 1).removesuffix("/")
        path = "/health" if path == "/healthz" else path
        for pattern, item in self._operations:
            if pattern.fullmatch(path) and method.lower() in item:
                responses = item[method.lower()]["responses"]
                found = responses.get(str(status))
                assert found or status >= 400, f"{method} {path} may not answer {status}"
                return self._resolve(found or responses["default"])
        assert status in (400, 404, 405, 500), f"nothing is known of {method} {path}"
        return self._resolve({"$ref": "#/components/responses/Error"})

    def _resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node


def _close(schema: dict[str, Any]) -> None:
    if schema.get("type") == "object" and "properties" in schema:
        _ = schema.setdefault("additionalProperties", False)


def _nulls(value: object) -> bool:
    match value:
        case None:
            return True
        case dict():
            return any(_nulls(each) for each in value.values())
        case list():
            return any(_nulls(each) for each in value)
        case _:
            return False
