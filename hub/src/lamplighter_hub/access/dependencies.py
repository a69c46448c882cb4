"""What endpoints ask for: `hub: Hub` for the services, and `who: Viewer | Operator | Administrator` for the caller.

@router.get("/things")
def things(hub: Hub, who: Viewer) -> Page[Thing]: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends, Request

from lamplighter_hub.access.roles import Principal, Role
from lamplighter_hub.errors import Forbidden, Unauthenticated
from lamplighter_hub.services import Services

COOKIE: Final = "lamplighter_session"
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def services(request: Request) -> Services:
    """Return the hub's services."""
    found: Services = request.app.state.services
    return found


def client_address(request: Request) -> str:
    """Return the caller's address; empty when the server does not know it."""
    return request.client.host if request.client else ""


def known(request: Request) -> Principal | None:
    """Return who is asking, None when nobody says so; for pages that greet a stranger with the sign-in.

    Raises Unauthenticated for a token that is not valid, Forbidden for an unsafe request without the CSRF token.
    """
    access = services(request).access
    header = request.headers.get("authorization", "")
    if header:
        return access.by_token(_bearer(header), client_address(request))
    cookie = request.cookies.get(COOKIE, "")
    found = access.by_session(cookie) if cookie else None
    if found and request.method not in _SAFE:
        access.check_csrf(found, request.headers.get(CSRF_HEADER, ""), request.headers.get("sec-fetch-site", ""))
    return found


def principal(request: Request) -> Principal:
    """Return who is asking. Raises Unauthenticated when nobody does."""
    found = known(request)
    if found is None:
        raise Unauthenticated("send `Authorization: Bearer lamp_...`, or sign in to the console")
    return found


def requires(role: Role) -> Callable[[Request], Principal]:
    """Return a dependency that lets nobody below a role pass."""

    def check(request: Request) -> Principal:
        found = principal(request)
        if not found.role.reaches(role):
            raise Forbidden(f"this needs the role {role}; {found.name!r} is {found.role}", code="role_too_low")
        return found

    return check


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("the Authorization header must be `Bearer lamp_...`")
    return token.strip()


Hub = Annotated[Services, Depends(services)]
Viewer = Annotated[Principal, Depends(requires(Role.VIEWER))]
Operator = Annotated[Principal, Depends(requires(Role.OPERATOR))]
Administrator = Annotated[Principal, Depends(requires(Role.ADMINISTRATOR))]
