"""What the hub refuses, as types; each knows how the API says it (RFC 9457, problem+json).

    HubError
    ├── Invalid            422  a field or parameter that is not as it must be, each by name
    ├── Unauthenticated    401  no token or session, or one that is not known (any more)
    ├── Forbidden          403  known, but the role does not reach
    ├── NotFound           404  no such device, agent, command ...
    ├── Conflict           409  contradicts what is there
    ├── TooMany            429  too often, or more than the hub keeps; `retry_after_s` says when again
    └── Unavailable        503  a store or the broker does not answer now

`code` is stable and machine-readable; consoles translate it, the API speaks English.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from lamplighter_protocols.configuration import FieldError
from lamplighter_protocols.errors import LamplighterError

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:lamplighter:problem:"


class HubError(LamplighterError):
    """Something the hub refuses. `detail` is one line that names the thing and the way out."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The hub could not do this"
    code: str = "internal_error"

    def __init__(
        self, detail: str, *, code: str = "", errors: Sequence[FieldError] = (), retry_after_s: int = 0
    ) -> None:
        self.detail = detail
        self.code = code or type(self).code
        self.errors = list(errors)
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class Invalid(HubError):
    """One or more named fields are not as they must be."""

    status = 422
    title = "Some fields are not valid"
    code = "invalid"


class Unauthenticated(HubError):
    """The caller is not known."""

    status = 401
    title = "Sign in, or send a token"
    code = "unauthenticated"


class Forbidden(HubError):
    """The caller is known and may not do this."""

    status = 403
    title = "Not allowed"
    code = "forbidden"


class NotFound(HubError):
    """No such thing; `code` says which kind (`device_unknown`, `command_unknown` ...)."""

    status = 404
    title = "Not found"
    code = "not_found"


class Conflict(HubError):
    """Contradicts what is there."""

    status = 409
    title = "Contradicts the present state"
    code = "conflict"


class TooMany(HubError):
    """Too often, or more than the hub keeps."""

    status = 429
    title = "Too many"
    code = "too_many"


class Unavailable(HubError):
    """A part of the hub does not answer now."""

    status = 503
    title = "Not available now"
    code = "unavailable"


class Problem(BaseModel):
    """An error as the API says it (RFC 9457)."""

    type: str = Field(examples=[f"{URN}device_unknown"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["device 'air-9' is not known; GET /api/v1/devices lists the known ones"])
    errors: list[FieldError] = Field(default=[], description="Every field that was refused, by name.")
    request_id: str = Field(default="", description="Find this request in the hub's log.")

    @property
    def code(self) -> str:
        """The last part of `type`."""
        return self.type.removeprefix(URN)


def invalid(field: str, detail: str) -> Invalid:
    """Return an Invalid for one field."""
    return Invalid(f"{field} {detail}", errors=[FieldError(field=field, detail=detail)])


def invalid_fields(errors: Sequence[FieldError]) -> Invalid:
    """Return an Invalid for several fields; the first is named in `detail`."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Invalid(f"{errors[0].field} {errors[0].detail}{more}"[:1000], errors=errors[:100])


def problem_of(error: HubError, request_id: str = "") -> Problem:
    """Return what the API says of a HubError."""
    return Problem(
        type=URN + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        errors=error.errors,
        request_id=request_id,
    )


PROBLEM_RESPONSE: Final[dict[str, Any]] = {
    "description": "Refused; the problem says why.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
"""How OpenAPI describes every error response."""
