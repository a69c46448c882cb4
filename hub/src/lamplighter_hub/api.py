"""The HTTP face: every router, one way to say what is wrong, and the headers that browsers are told to obey."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lamplighter_hub.access import endpoints as access
from lamplighter_hub.access.guard import Guard, request_id
from lamplighter_hub.backup import endpoints as backup
from lamplighter_hub.commands import endpoints as commands
from lamplighter_hub.configuration import endpoints as configuration
from lamplighter_hub.devices import endpoints as devices
from lamplighter_hub.enrolment import endpoints as enrolment
from lamplighter_hub.errors import MEDIA_TYPE, PROBLEM_RESPONSE, URN, HubError, Invalid, Problem, problem_of
from lamplighter_hub.ledger import endpoints as ledger
from lamplighter_hub.quarantine import endpoints as quarantine
from lamplighter_hub.series import endpoints as series
from lamplighter_hub.services import Services
from lamplighter_hub.status import endpoints as status
from lamplighter_hub.verification import endpoints as verification
from lamplighter_protocols.configuration import FieldError
from lamplighter_protocols.wording import worded

log = logging.getLogger(__name__)

PREFIX: Final = "/api/v1"
RenderProblem = Callable[[Request, Problem], Response | None]
"""May answer a browser's page request with a page; None leaves it to problem+json."""

DESCRIPTION: Final = """\
Everything the console and the command line can do. Send `Authorization: Bearer lamp_...`; errors are RFC 9457
problems; lists take `limit` and `cursor`; times are milliseconds since 1970-01-01T00:00:00Z.
"""


def create_app(services: Services, *, routers: tuple[APIRouter, ...] = ()) -> FastAPI:
    """Return the application. `routers` are mounted as they are, outside the prefix (the console's pages).

    Set `app.state.render_problem` to a RenderProblem to show browsers a page for an error outside `/api/v1`.
    """
    app = FastAPI(
        title="Lamplighter",
        version=version("lamplighter-hub"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        responses={"default": PROBLEM_RESPONSE, 422: PROBLEM_RESPONSE},
    )
    app.state.services = services
    app.state.render_problem = None
    for router in api_routers():
        app.include_router(router, prefix=PREFIX)
    app.include_router(status.bare_router)
    for router in routers:
        app.include_router(router)
    _say_problems(app)
    _describe(app)
    app.add_middleware(Guard, fail=_unexpected)
    return app


def api_routers() -> tuple[APIRouter, ...]:
    """Return the routers below the prefix, in the order of the OpenAPI document."""
    return (
        status.router,
        devices.router,
        series.router,
        quarantine.router,
        ledger.router,
        configuration.router,
        commands.router,
        enrolment.router,
        access.router,
        backup.router,
        verification.router,
    )


def _say_problems(app: FastAPI) -> None:
    app.add_exception_handler(HubError, _hub_error)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http_error)


def _hub_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HubError):
        raise error
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="lamplighter"'
    return _answer(request, problem_of(error, request_id(request)), headers)


def _not_valid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if _unread(error):
        return _http_error(request, HTTPException(415))
    fields = [_field_error(item) for item in error.errors()[:100]]
    first = fields[0]
    return _hub_error(request, Invalid(f"{first.field} {first.detail}"[:1000], errors=fields))


def _unread(error: RequestValidationError) -> bool:
    """Return whether a body was left as bytes, as its content type is none that the address reads."""
    return error.errors()[0]["loc"] == ("body",) and isinstance(error.body, bytes) and bool(error.body)


def _field_error(item: dict[str, Any]) -> FieldError:
    """Turn pydantic's word into ours: a path without `body`, and what is wrong as the end of a sentence."""
    if item["type"] == "json_invalid":
        return FieldError(field="body", detail=f"is not JSON: {item['ctx']['error']} at character {item['loc'][-1]}")
    where = [str(part)[:80] for part in item["loc"] if part not in {"body", "query", "path", "header"}]
    return FieldError(field=".".join(where) or "body", detail=worded(item))


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, title = _HTTP.get(error.status_code, ("http_error", "Refused"))
    problem = Problem(
        type=URN + code,
        title=title,
        status=error.status_code,
        detail=_HTTP_DETAIL.get(error.status_code, str(error.detail)).format(request=request),
        request_id=request_id(request),
    )
    return _answer(request, problem, dict(error.headers or {}))


_HTTP: Final = {
    400: ("bad_request", "Not readable"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("too_large", "Too large"),
    415: ("unsupported_media_type", "Not readable"),
}
_HTTP_DETAIL: Final = {
    400: "the body is not readable; send UTF-8 JSON with content type application/json",
    404: "nothing is here; /api/v1/openapi.json lists what there is",
    405: "this address does not take {request.method}; the header Allow says what it takes",
    415: "the body is not taken for JSON; send JSON with the header Content-Type: application/json",
}


def _unexpected(request: Request, error: Exception) -> Response:
    """Answer for a mistake of ours. The traceback goes to the log, the reader gets the request id."""
    log.error("request %s %s %s failed", request_id(request), request.method, request.url.path, exc_info=error)
    problem = problem_of(HubError("the hub made a mistake; its log says more under this request id"))
    return _answer(request, problem.model_copy(update={"request_id": request_id(request)}), {})


def _answer(request: Request, problem: Problem, headers: dict[str, str]) -> Response:
    render: RenderProblem | None = request.app.state.render_problem
    if render and not request.url.path.startswith(PREFIX):
        page = render(request, problem)
        if page is not None:
            page.headers.update(headers)
            return page
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


def _describe(app: FastAPI) -> None:
    """Add what FastAPI cannot know to the OpenAPI document: the problem, and how to say who one is."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
            components["schemas"] |= components["schemas"]["Problem"].pop("$defs", {})
            components["securitySchemes"] = _SCHEMES
            document["security"] = [{"token": []}, {"session": [], "csrf": []}]
        schema: dict[str, Any] = app.openapi_schema or document
        return schema

    app.openapi = described  # type: ignore[method-assign]


_SCHEMES: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "`lamp_...`, from POST /tokens."},
    "session": {"type": "apiKey", "in": "cookie", "name": "lamplighter_session"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "Unsafe methods only."},
}
