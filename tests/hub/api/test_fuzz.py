"""Every route of the OpenAPI document meets generated nonsense: a problem each, never a 5xx, and the hub goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.registry.rig import OPERATOR, Rig, calling, rig
from lamplighter_hub.commands.service import Request
from lamplighter_hub.errors import Problem
from services.postgres import Postgres

EXAMPLES = 700
ENDLESS = {"/api/v1/stream"}


Draw = Callable[[st.SearchStrategy[Any]], Any]


class Target(NamedTuple):
    method: str
    path: str
    operation: dict[str, Any]


class Fuzzed(NamedTuple):
    made: Rig
    client: httpx.Client
    targets: list[Target]
    schemas: dict[str, Any]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fuzzed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    url = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        url = server.url(server.create(request.getfixturevalue("postgres_template")))
    with rig(tmp_path_factory.mktemp("hub"), url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        made.hub.commands.create(Request("lamp-1", "switch", {"on": True}), OPERATOR)
        document = client.get("/api/v1/openapi.json").json()
        targets = [
            Target(method, path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if path not in ENDLESS
        ]
        yield Fuzzed(made, client, targets, document["components"]["schemas"])


nasty = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**30, 1e308, float("nan"), float("inf"), -0.0, 1.5]),
    st.text(max_size=30),
    st.sampled_from(["", "lamp-1", "switch", "\ud800", "\x00", "a" * 5000, "' OR 1=1 --", "../../etc", "٣", "1e5"]),
)
nonsense = st.recursive(
    nasty, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def fitting(schemas: dict[str, Any], schema: dict[str, Any], draw: Draw) -> Any:
    """Draw a value that nearly fits a schema: each part may be replaced by nonsense."""
    if draw(st.integers(0, 7)) == 0:
        return draw(nonsense)
    if "$ref" in schema:
        return fitting(schemas, schemas[schema["$ref"].rsplit("/", 1)[-1]], draw)
    if "anyOf" in schema:
        return fitting(schemas, draw(st.sampled_from(schema["anyOf"])), draw)
    if schema.get("type") == "object":
        return an_object(schemas, schema, draw)
    if schema.get("type") == "array":
        return [fitting(schemas, schema.get("items", {}), draw) for _ in range(draw(st.integers(0, 3)))]
    return draw(scalar(schema))


def an_object(schemas: dict[str, Any], schema: dict[str, Any], draw: Draw) -> dict[str, Any]:
    parts = schema.get("properties", {}).items()
    known = {name: fitting(schemas, part, draw) for name, part in parts if draw(st.integers(0, 3))}
    return known or draw(st.dictionaries(st.text(max_size=8), nasty, max_size=1))


def scalar(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema:
        case {"enum": choices}:
            return st.sampled_from(choices)
        case {"type": "integer" | "number"}:
            return st.sampled_from([schema.get("minimum", 0), schema.get("maximum", 10**15), 1, 60])
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "string"}:
            return st.sampled_from(["lamp-1", "switch", "agent-1", "01M80T5JNV0000000000000000", "x", ""])
        case _:
            return nonsense


def body_of(target: Target, schemas: dict[str, Any], draw: Draw) -> tuple[bytes, str]:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=200)), draw(st.sampled_from(["application/json", "text/plain", "x", ""]))
    content = target.operation.get("requestBody", {}).get("content", {}).get("application/json")
    value = fitting(schemas, content["schema"], draw) if content and kind > 1 else draw(nonsense)
    return json.dumps(value).encode(), "application/json"


# No database: what was drawn for the routes of an earlier day means something else for those of today.
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_nonsense_is_answered_with_a_problem_and_never_with_a_failure(fuzzed: Fuzzed, data: st.DataObject) -> None:
    def draw(strategy: st.SearchStrategy[Any]) -> Any:
        return data.draw(strategy)

    target = draw(st.sampled_from(fuzzed.targets))
    path, query, headers = target.path, [], {}
    for parameter in target.operation.get("parameters", []):
        drawn = draw(st.just(None) | nasty.map(str)) if draw(st.booleans()) else None
        value = drawn if drawn is not None else str(fitting(fuzzed.schemas, parameter["schema"], draw))
        match parameter["in"]:
            case "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(value.encode(errors="replace"), safe="") or "%00")
            case "query" if draw(st.booleans()) and parameter["name"] != "wait_s":
                query.append((parameter["name"], value.encode(errors="replace").decode()))
            case "header" if draw(st.booleans()):
                headers[parameter["name"]] = (
                    value.encode("ascii", "replace").decode().translate(dict.fromkeys(range(32)))
                )
    content, kind = body_of(target, fuzzed.schemas, draw) if target.method in {"post", "put"} else (b"", "")
    if kind:
        headers["Content-Type"] = kind
    fuzzed.made.clock.forward(61)
    answer = fuzzed.client.request(target.method, path, params=query, headers=headers, content=content)
    where = f"{target.method} {answer.request.url} {content[:300]!r} -> {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, where
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", where
        problem = Problem.model_validate_json(answer.content)
        assert problem.status == answer.status_code, where
        assert problem.detail, where
        assert "Traceback" not in answer.text, where


def test_the_hub_works_after_all_that(fuzzed: Fuzzed) -> None:
    assert fuzzed.client.get("/api/v1/devices/lamp-1").json()["id"] == "lamp-1"
    assert fuzzed.client.get("/healthz").status_code == 200
