"""Sign-in by a one-time link, sign-out, and the choice of language and theme."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lamplighter_hub.access.dependencies import COOKIE, client_address
from lamplighter_hub.access.endpoints import set_cookie
from lamplighter_hub.console import i18n
from lamplighter_hub.console.page import GuestPage, StrangerPage
from lamplighter_hub.console.problems import sentence
from lamplighter_hub.console.visitor import THEME_COOKIE
from lamplighter_hub.console.words import THEMES
from lamplighter_hub.errors import TooMany, Unauthenticated

router = APIRouter(include_in_schema=False)
YEAR_S: Final = 366 * 86_400
Code = Annotated[str, Query(max_length=400)]


@router.get("/sign-in")
def show(page: StrangerPage, code: Code = "") -> HTMLResponse:
    """Show a button: the link is used up by pressing it, so that a preview or a scanner cannot burn it."""
    return page.render("sign_in.html", code=_code(code), problem="")


@router.post("/sign-in")
def sign_in(page: StrangerPage, code: Annotated[str, Form(max_length=400)] = "") -> Response:
    """Use the link up and open a session."""
    try:
        opened = page.hub.access.sign_in(_code(code), client_address(page.request))
    except (Unauthenticated, TooMany) as error:
        return page.render("sign_in.html", error.status, code="", problem=sentence(page.language, error))
    response = RedirectResponse("/", 303)
    set_cookie(page.request, response, opened, page.hub.clock())
    return response


@router.post("/sign-out")
def sign_out(page: GuestPage) -> Response:
    """End the session."""
    page.hub.access.sign_out(page.request.cookies.get(COOKIE, ""))
    response = Response(status_code=204, headers={"HX-Redirect": "/sign-in"})
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return response


@router.post("/preferences")
def prefer(
    request: Request,
    language: Annotated[str, Form(max_length=10)] = "",
    theme: Annotated[str, Form(max_length=10)] = "",
    back: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Remember language or theme in this browser, and go back to the page."""
    response = RedirectResponse(_own_path(back), 303)
    secure = request.url.scheme == "https"
    if language in i18n.LANGUAGES:
        response.set_cookie(i18n.COOKIE, language, YEAR_S, secure=secure, httponly=True, samesite="lax")
    if theme in THEMES:
        response.set_cookie(THEME_COOKIE, theme, YEAR_S, secure=secure, httponly=True, samesite="lax")
    return response


def _code(typed: str) -> str:
    """Return the code of a link, also when the whole link was pasted."""
    return typed.strip().rsplit("code=", 1)[-1].split("&", 1)[0]


def _own_path(back: str) -> str:
    """Return a path of this site; anything that could lead elsewhere becomes the overview."""
    own = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable() and "\\" not in back
    return back if own else "/"
