"""docs/api.md: every address of the API, from the same document that a hub hands out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from lamplighter_hub.api import PREFIX, api_routers
from lamplighter_hub.status import endpoints as status

ROLES: Final = ("Viewer", "Operator", "Administrator")
HEAD: Final = """# API

{written}

Everything that console and command line can do, at the hub's address below `/api/v1`. A hub's own
`/api/v1/openapi.json` (OpenAPI 3.1) has each answer's fields too, for programs that make clients.

```sh
lamplighter token create my-program --role operator --expires 90d
curl -H 'Authorization: Bearer lamp_...' 'http://127.0.0.1:8080/api/v1/devices?state=offline'
curl -H 'Authorization: Bearer lamp_...' 'http://127.0.0.1:8080/api/v1/devices/air-1/series?metric=pm25&from=-2h'
curl -H 'Authorization: Bearer lamp_...' -H 'Content-Type: application/json' -H 'Idempotency-Key: 7f1c' \\
  -d '{{"name": "print_test_page", "args": {{"copies": 2}}}}' http://127.0.0.1:8080/api/v1/devices/kiosk-1/commands
```

Bodies and answers are JSON, times milliseconds since 1970 in UTC. A parameter `from` or `to` may also be
ISO 8601 or a span before now, `-2h`. A list has `items` and `next`: hand that back as `cursor` for what follows, until
it is null. An error is a problem (RFC 9457), whose `type` a program can rely on and whose `detail` a person can act on:

```json
{{"type": "urn:lamplighter:problem:invalid", "title": "Some fields are not valid", "status": 422,
 "detail": "limit must be at least 1",
 "errors": [{{"field": "limit", "detail": "must be at least 1"}}], "request_id": "649880c507739572"}}
```

| status | when |
|---|---|
| 401, 403 | no token or a wrong one; its role does not reach |
| 404, 405 | no such thing, its code says of which kind; no such method |
| 409 | contradicts what is there |
| 413, 415, 422 | too large; no JSON; a field that is not as it must be, each by name |
| 429, 503 | too often; a store or the broker is away. `Retry-After` says when again |"""
PARAMETERS: Final = "| field | in | type | what |\n|---|---|---|---|"


def api(written: str) -> str:
    """Write docs/api.md."""
    app = FastAPI()
    for router in api_routers():
        app.include_router(router, prefix=PREFIX)
    app.include_router(status.bare_router)
    document = app.openapi()
    roles = {words: role for router in api_routers() for words, role in _roles(router)}
    lines = [HEAD.format(written=written)]
    section = ""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != section:
                section = operation["tags"][0]
                lines += ["", f"## {section.capitalize()}"]
            lines += _operation(document, f"{method.upper()} {path.removeprefix(PREFIX)}", operation, roles)
    return "\n".join(lines) + "\n"


def _roles(router: APIRouter) -> Iterator[tuple[str, str]]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            needed = [role.lower() for role in ROLES if role in route.endpoint.__annotations__.values()]
            yield from ((f"{method} {route.path}", needed[0] if needed else "") for method in route.methods or ())
        elif isinstance(inner := getattr(route, "original_router", None), APIRouter):
            yield from _roles(inner)


def _operation(document: Any, words: str, operation: Any, roles: Mapping[str, str]) -> list[str]:
    role = roles.get(words, "")
    lines = ["", f"### {words}", "", _line(operation["description"]) + (f" For a role from {role} on." if role else "")]
    rows = [*map(_parameter, operation.get("parameters", ())), *_body(document, operation)]
    return [*lines, "", PARAMETERS, *rows] if rows else lines


def _parameter(found: Any) -> str:
    needed = "" if found.get("required") else _default(found["schema"])
    return _row(found["name"], found["in"], _type(found["schema"]) + needed, found.get("description", ""))


def _row(name: str, place: str, kind: str, what: str) -> str:
    return f"| `{name}` | {place} | {kind} | {_line(what)} |"


def _body(document: Any, operation: Any) -> Iterator[str]:
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        if "$ref" not in schema:
            yield _row("body", "body", media, schema.get("description", ""))
            continue
        model = document["components"]["schemas"][_name(schema)]
        for name, field in model["properties"].items():
            needed = "" if name in model.get("required", ()) else _default(field)
            yield _row(name, "body", _type(field) + needed, field.get("description", ""))


def _default(schema: Any) -> str:
    default = schema.get("default")
    return ", optional" if default in (None, "", [], {}) else f", else `{default}`"


def _type(schema: Any) -> str:
    if "$ref" in schema:
        return _name(schema)
    if options := schema.get("anyOf"):
        return " or ".join(_type(one) for one in options if one.get("type") != "null")
    if choices := schema.get("enum"):
        return ", ".join(f"`{choice}`" for choice in choices)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _name(schema: Any) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
