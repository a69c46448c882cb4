"""Who looks at a page, in which language and theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import Request

from lamplighter_hub.access.dependencies import known
from lamplighter_hub.access.roles import Principal, Role
from lamplighter_hub.console import i18n
from lamplighter_hub.console.words import THEMES
from lamplighter_hub.errors import Unauthenticated

THEME_COOKIE: Final = "lamplighter_theme"


@dataclass(frozen=True)
class Visitor:
    """A person with a browser; `who` is None before the sign-in."""

    language: i18n.Language
    theme: str
    who: Principal | None = None

    def reaches(self, role: str) -> bool:
        """True when they may do what a role may."""
        return self.who is not None and self.who.role.reaches(Role(role))


def stranger(request: Request) -> Visitor:
    """Return language and theme of whoever asks, without asking who it is."""
    language = i18n.choose(request.cookies.get(i18n.COOKIE, ""), request.headers.get("accept-language", ""))
    theme = request.cookies.get(THEME_COOKIE, "")
    return Visitor(language, theme if theme in THEMES else "system")


def visitor(request: Request) -> Visitor:
    """Return a visitor who is signed in. Raises Unauthenticated, which the console answers with the sign-in."""
    found = known(request)
    if found is None:
        raise Unauthenticated("sign in to see this page", code="not_signed_in")
    base = stranger(request)
    return Visitor(base.language, base.theme, found)
