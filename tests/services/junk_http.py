"""Requests that the API must refuse: bodies, paths and headers made from its own OpenAPI document, wrong on purpose."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from lamplighter_protocols.configuration import FieldSpec
from lamplighter_protocols.profile import Profile

MUTATING: Final = ("post", "put", "patch", "delete")
JSON: Final = {"Content-Type": "application/json"}
LARGEST: Final = 1024 * 1024
_BROKEN: Final[Sequence[bytes]] = (
    b"",
    b"{",
    b"not json",
    b'{"a":}',
    b'"\xff\xfe"',
    b"\x00",
    b"[1,2",
    b'{"a":1}}',
    b"{'a':1}",
    b"\xef\xbb\xbf{}x",
    b'{"a":' * 20_000,
    b"[" * 50_000,
    b"NaN",
    b"\x78\x9cjunk",
)
_HEADER: Final = b"device,metric,time,t,value,quality,type\n"
_BROKEN_CSV: Final[Sequence[bytes]] = (
    b"",
    b"\xff\xfe",
    b"device,metric\n",
    b'device,metric,t,value\n"a',
    _HEADER + b"nowhere,power,,1,1,good,number\n",
    _HEADER + b"\x00\n",
    _HEADER + b"nowhere,power,,NaN,1,good,number\n",
    _HEADER + b"x" * 200_000,
    b"," * 100_000,
)
_NO_OBJECT: Final[Sequence[Any]] = ([], [1], "text", 5, True, None, [{}], 1.5)
_NOWHERE: Final[Sequence[str]] = (
    "UPPER",
    "nowhere",
    "a" * 65,
    "a" * 3_000,
    "ä",
    "a b",
    "..",
    "%00",
    "-",
    "01M80T5JNV0000000000000000",
    "'; drop table devices; --",
)


class Asked(NamedTuple):
    """One request. `odd` ones are allowed to be taken: then they must only not break anything."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    odd: bool = False


def bad_bodies(document: dict[str, Any], device: str, count: int, seed: int) -> Iterator[Asked]:
    """Make requests for every route that changes something."""
    chance = random.Random(f"bodies-{seed}")
    routes = [
        (method, path, document["paths"][path][method])
        for path in sorted(document["paths"])
        for method in MUTATING
        if method in document["paths"][path]
    ]
    routes = [route for route in routes if "requestBody" in route[2] or "{" in route[1]]
    assert len(routes) >= 10, "the API has shrunk"
    for number in range(count):
        method, path, operation = routes[number % len(routes)]
        yield _request(chance, document, method, path.removeprefix("/api/v1"), operation, device)


def _request(
    chance: random.Random, document: dict[str, Any], method: str, path: str, operation: dict[str, Any], device: str
) -> Asked:
    verb = method.upper()
    if "requestBody" not in operation:
        return Asked(verb, _nowhere(chance, path), {}, b"")
    filled = path.replace("{device}", device)
    filled = _nowhere(chance, filled)
    content = operation["requestBody"]["content"]
    if "text/csv" in content:
        return Asked(verb, filled, {"Content-Type": "text/csv"}, chance.choice(_BROKEN_CSV))
    schema = _resolved(document, content["application/json"]["schema"])
    kind = chance.choices(("field", "broken", "no object", "large", "type", "odd"), (45, 25, 10, 2, 8, 10))[0]
    media = chance.choice(("text/plain", "application/xml", "x", "multipart/form-data")) if kind == "type" else ""
    makers: dict[str, Callable[[], bytes]] = {
        "field": lambda: json.dumps(_spoilt(chance, document, schema)).encode(),
        "broken": lambda: chance.choice(_BROKEN),
        "no object": lambda: json.dumps(chance.choice(_NO_OBJECT)).encode(),
        "large": lambda: b'{"a":"' + b"x" * LARGEST + b'"}',
        "type": lambda: b"<a>not json</a>",
        "odd": lambda: _strange(chance, schema),
    }
    headers = {"Content-Type": media} if media else JSON
    return Asked(verb, filled, headers, makers[kind](), odd=kind == "odd")


def _nowhere(chance: random.Random, path: str) -> str:
    """Fill a path with what does not exist."""
    while "{" in path:
        head, _, rest = path.partition("{")
        path = head + quote(chance.choice(_NOWHERE), safe="") + rest.partition("}")[2]
    return path


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def _spoilt(chance: random.Random, document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object with a field that is missing, unknown, or of a type that it cannot have."""
    fields: dict[str, Any] = schema["properties"]
    body = {name: _example(document, field) for name, field in fields.items() if name in schema.get("required", ())}
    draw = chance.random()
    if draw < 0.2:
        return {**body, chance.choice(("unknown", "", "__proto__", "ID", "x" * 500, "日本")): 1}
    if draw < 0.3 and body:
        body.pop(chance.choice(list(body)))
        return body
    name = chance.choice(list(fields))
    return {**body, name: _never(chance, fields[name])}


def _example(document: dict[str, Any], field: dict[str, Any]) -> Any:
    """Return something that fits a field."""
    field = _resolved(document, field)
    if field.get("examples"):
        return field["examples"][0]
    match field.get("type"):
        case "string":
            return "text"
        case "integer" | "number":
            return field.get("minimum", 1)
        case "array":
            return [_body(document, field["items"])]
    return {}


def _body(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    schema = _resolved(document, schema)
    if "properties" not in schema:
        return _example(document, schema)
    needed = schema.get("required", ())
    return {name: _example(document, field) for name, field in schema["properties"].items() if name in needed}


def _never(chance: random.Random, field: dict[str, Any]) -> Any:
    """Return a value that a field's schema cannot allow."""
    types = {part.get("type", "$ref") for part in field.get("anyOf", [field])}
    wrong: list[Any] = []
    if "object" not in types and "$ref" not in types:
        wrong += [{}, {"a": {"b": [1]}}]
    if "array" not in types:
        wrong += [[], [1], [[[[]]]], [None]]
    if types & {"object", "array"}:
        wrong += [5, "text", True, 1.5]
    if types & {"integer", "number"}:
        wrong += ["5", "NaN", 10**30, -(10**30), float("nan"), float("inf"), True]
    if "string" in types:
        wrong += [5, True, 1.5, "x" * 10_000]
    return chance.choice(wrong)


def _strange(chance: random.Random, schema: dict[str, Any]) -> bytes:
    """Return an object of texts that are allowed in JSON and welcome nowhere."""
    texts = ('"\\ud800"', '"\\u0000"', '"\\u202e"', '"' + "ﷺ" * 60 + '"', '"\\ud83d\\ude00"', "1e400", "-0", "1e-400")
    fields = ",".join(f"{json.dumps(name)}:{chance.choice(texts)}" for name in schema["properties"])
    return ("{" + fields + "}").encode()


def bad_configurations(device: str, profile: Profile, count: int, seed: int) -> Iterator[Asked]:
    """Make documents of which at least one field is not as the profile allows."""
    chance = random.Random(f"configurations-{seed}")
    path = f"/devices/{device}/configuration"
    for number in range(count):
        document = _wrong_fields(chance, profile.configuration, number)
        yield Asked("PUT", path, JSON, json.dumps({"document": document}).encode())


def bad_commands(device: str, profile: Profile, count: int, seed: int) -> Iterator[Asked]:
    """Make commands that the profile does not know, or with arguments that it does not allow."""
    chance = random.Random(f"commands-{seed}")
    names = sorted(profile.commands)
    for number in range(count):
        name = chance.choice(names)
        body: dict[str, Any] = {"name": name, "args": _wrong_fields(chance, profile.commands[name].args, number)}
        if chance.random() < 0.3:
            odd = ("", "no_such", "Bad Name", 5, None, ["reboot"], "x" * 100)
            body = {"name": chance.choice(odd), "args": {}}
        if chance.random() < 0.1:
            body["expires_in_s"] = chance.choice((0, -1, "5", 10**12, 1.5, True))
        headers = JSON | ({"Idempotency-Key": "x" * 201} if chance.random() < 0.1 else {})
        yield Asked("POST", f"/devices/{device}/commands", headers, json.dumps(body).encode())


def _wrong_fields(chance: random.Random, specs: dict[str, FieldSpec], number: int) -> dict[str, Any]:
    if not specs or chance.random() < 0.2:
        return {
            chance.choice((f"unknown_{number}", "", "UPPER", "a.b", "x" * 400, "日本")): chance.choice((1, "x", True))
        }
    name, spec = chance.choice(list(specs.items()))
    return {name: chance.choice(_never_right(spec))}


def _never_right(spec: FieldSpec) -> list[Any]:
    wrong: list[Any] = [[], [1], {}, {"a": 1}, float("nan"), float("inf"), 10**30, 2**53 + 1, "x" * 1_025, "\x00"]
    if spec.type != "boolean":
        wrong += [True, False]
    if spec.type != "string":
        wrong += ["5", "", "true"]
    if spec.min is not None:
        wrong += [spec.min - 1]
    if spec.max is not None:
        wrong += [spec.max + 1]
    return wrong
