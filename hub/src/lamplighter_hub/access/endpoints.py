"""Tokens, sign-in links and console sessions over HTTP."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from lamplighter_hub.access.bodies import Body, Line
from lamplighter_hub.access.dependencies import COOKIE, Administrator, Hub, Viewer, client_address
from lamplighter_hub.access.roles import Role
from lamplighter_hub.access.service import SignedIn
from lamplighter_hub.registry import models
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_protocols.ids import Ulid

router = APIRouter(tags=["access"])

RoleName = Literal["viewer", "operator", "administrator"]
TokenId = Annotated[Ulid, Path(description="A token's id, not its secret.")]
MAX_TOKEN_S: Final = 10 * 366 * 86_400


class NewToken(Body):
    """A token to make."""

    name: Line = Field(examples=["night shift"])
    role: RoleName = Field(default="viewer", examples=["operator"])
    expires_in_s: Annotated[int, Field(ge=60, le=MAX_TOKEN_S)] | None = Field(default=None, examples=[86_400])


class Token(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    role: Role
    created_at: int
    created_by: str
    expires_at: int | None
    last_used_at: int | None = Field(description="Exact to a minute.")


class TokenMade(Token):
    """A new token. `token` is shown this once."""

    token: str = Field(examples=["lamp_zC1f..."])


class NewLink(Body):
    """A sign-in link to make."""

    name: Line = Field(default="administrator", examples=["Ms Li"])
    role: RoleName = "administrator"


class LinkMade(BaseModel):
    """A link that opens the console once."""

    url: str
    expires_at: int


class SignIn(Body):
    """The code of a sign-in link."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Session(BaseModel):
    """Who is signed in. Send `csrf` as X-CSRF-Token with every request that changes something."""

    name: str
    role: Role
    kind: Literal["token", "session"]
    csrf: str = ""


@router.post("/tokens", status_code=201)
def make_token(hub: Hub, who: Administrator, body: NewToken) -> TokenMade:
    """Make a token; its secret is shown once."""
    row, secret = hub.access.new_token(body.name, Role(body.role), who.issuer, body.expires_in_s)
    return TokenMade(**_token(row).model_dump(), token=secret)


@router.get("/tokens")
def list_tokens(hub: Hub, _: Administrator, limit: Limit = 100, cursor: Cursor = "") -> Page[Token]:
    """List tokens, oldest first."""
    after = read_cursor(cursor, str)
    rows = hub.access.tokens(after[0] if after else "", limit)
    following = write_cursor(rows[-1].id) if len(rows) == limit else None
    return Page(items=[_token(row) for row in rows], next=following)


@router.delete("/tokens/{token}", status_code=204)
def delete_token(hub: Hub, _: Administrator, token: TokenId) -> None:
    """End a token at once."""
    hub.access.revoke_token(token)


@router.post("/sign-in-links", status_code=201)
def make_link(request: Request, hub: Hub, who: Administrator, body: NewLink) -> LinkMade:
    """Make a link that opens the console once, within an hour."""
    base = hub.settings.public_url or str(request.base_url)
    link = hub.access.new_link(body.name, Role(body.role), who.issuer, base)
    return LinkMade(url=link.url, expires_at=link.expires_at)


@router.post("/sessions", status_code=201)
def sign_in(request: Request, response: Response, hub: Hub, body: SignIn) -> Session:
    """Use a sign-in link's code and become a console session (a cookie)."""
    opened = hub.access.sign_in(body.code, client_address(request))
    set_cookie(request, response, opened, hub.clock())
    return Session(name=opened.who.name, role=opened.who.role, kind="session", csrf=opened.who.csrf)


@router.get("/sessions/current")
def current_session(who: Viewer) -> Session:
    """Say who is asking."""
    return Session(name=who.name, role=who.role, kind=who.kind, csrf=who.csrf)


@router.delete("/sessions/current", status_code=204)
def sign_out(request: Request, response: Response, hub: Hub, who: Viewer) -> None:
    """End the console session."""
    if who.kind == "session":
        hub.access.sign_out(request.cookies.get(COOKIE, ""))
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")


def set_cookie(request: Request, response: Response, opened: SignedIn, now_ms: int) -> None:
    """Hand the browser its session. The cookie is `Secure` wherever the request came by https."""
    response.set_cookie(
        COOKIE,
        opened.cookie,
        max_age=(opened.expires_at - now_ms) // 1000,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _token(row: models.Token) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
