"""Vendors' own specifications (OpenAPI 3, Swagger 2) as judges of requests and answers.

They do not close their objects: a misspelt field would pass. Here every object that lists its properties is
closed, those that a test names as free apart. The files lie beside the project; where they are absent, tests
that need them are skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from jsonschema import Draft202012Validator

SPECS = Path(__file__).parents[3] / "shared" / "specs"

METHODS = frozenset({"get", "put", "post", "delete", "patch"})


class Spec:
    """One file. `free` names properties whose objects may have any fields."""

    def __init__(self, name: str, free: frozenset[str] = frozenset()) -> None:
        path = SPECS / name
        if not path.exists():
            pytest.skip(f"the vendor's specification {name} is not here")
        self._document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        self._free = free

    def check_request(self, method: str, url: str, body: bytes) -> str:
        """Raises where the operation is unknown, has other parameters, or another body. Its path is returned."""
        path, operation, shared = self._operation(method, urlsplit(url).path)
        parameters = [self._resolved(one) for one in [*shared, *operation.get("parameters", ())]]
        given = [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
        declared = {one["name"]: one for one in parameters if one["in"] == "query"}
        assert set(given) <= declared.keys(), (path, given)
        assert {name for name, one in declared.items() if one.get("required")} <= set(given), path
        schema = self._body_schema(operation, parameters)
        if schema is None:
            assert not body, f"{method} {path} has no body"
        else:
            self._validate(json.loads(body), schema)
        return path

    def check_answer(self, method: str, url: str, status: int, body: bytes) -> None:
        """Raises where the specification knows no such answer, or one of another shape."""
        path, operation, _ = self._operation(method, urlsplit(url).path)
        answer = self._resolved(operation["responses"][str(status)])
        media: dict[str, Any] = next(iter(answer.get("content", {"": {}}).values()))
        schema = answer.get("schema") or media.get("schema")
        assert schema is not None, (path, status)
        self._validate(json.loads(body), schema)

    def description(self, method: str, path: str) -> str:
        """What the vendor says of an operation, where limits often are."""
        return str(self._operation(method, path)[1].get("description", ""))

    def _operation(self, method: str, path: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
        """The most literal of the paths that fit."""
        fitting = []
        for template, operations in self._document["paths"].items():
            pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in operations.keys() & METHODS:
                fitting.append(template)
        assert fitting, f"no operation {method} {path}"
        template = min(fitting, key=lambda one: one.count("{"))
        operations = self._document["paths"][template]
        return template, operations[method.lower()], operations.get("parameters", [])

    def _body_schema(self, operation: Mapping[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any] | None:
        for one in parameters:
            if one["in"] == "body":
                return dict(one["schema"])
        body = self._resolved(operation.get("requestBody", {}))
        media: dict[str, Any] = next(iter(body.get("content", {"": {}}).values()))
        return media.get("schema")

    def _validate(self, value: Any, schema: Mapping[str, Any]) -> None:
        checker = Draft202012Validator.FORMAT_CHECKER
        Draft202012Validator(self._closed(schema), format_checker=checker).validate(value)

    def _resolved(self, node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            found: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def _closed(self, node: Any, name: str = "") -> Any:
        node = self._resolved(node)
        if isinstance(node, list):
            return [self._closed(one) for one in node]
        if not isinstance(node, dict):
            return node
        closed = {key: self._closed(value) for key, value in node.items() if key not in ("properties", "example")}
        if isinstance(node.get("properties"), dict):
            closed["properties"] = {key: self._closed(value, key) for key, value in node["properties"].items()}
            if name not in self._free:
                closed.setdefault("additionalProperties", False)
        return closed
