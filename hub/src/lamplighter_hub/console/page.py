"""What every page's function asks for: the services, the visitor and the renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import HTMLResponse

from lamplighter_hub.access.dependencies import services
from lamplighter_hub.access.roles import Principal
from lamplighter_hub.console.i18n import Language
from lamplighter_hub.console.render import Renderer
from lamplighter_hub.console.visitor import Visitor, stranger, visitor
from lamplighter_hub.errors import Forbidden, Unauthenticated
from lamplighter_hub.services import Services


@dataclass(frozen=True)
class Page:
    """One request for a page. `render` answers it."""

    request: Request
    visitor: Visitor
    hub: Services

    @property
    def language(self) -> Language:
        """The visitor's language."""
        return self.visitor.language

    @property
    def who(self) -> Principal:
        """Who is signed in. Raises Unauthenticated for a stranger."""
        if self.visitor.who is None:
            raise Unauthenticated("sign in first", code="not_signed_in")
        return self.visitor.who

    def check_role(self, role: str) -> None:
        """Raise Forbidden when the visitor may not do what a role may."""
        if not self.visitor.reaches(role):
            raise Forbidden(f"this needs the role {role}", code="role_too_low")

    @property
    def base_url(self) -> str:
        """The address under which agents reach this hub."""
        return self.hub.settings.public_url or str(self.request.base_url).rstrip("/")

    def render(self, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """Render a template with what every page knows, and `values`."""
        renderer: Renderer = self.request.app.state.console
        values.setdefault("may_operate", self.visitor.reaches("operator"))
        return renderer.page(self.request, self.visitor, template, status, **values)


def _of_guest(request: Request) -> Page:
    return Page(request, visitor(request), services(request))


def _of_stranger(request: Request) -> Page:
    return Page(request, stranger(request), services(request))


GuestPage = Annotated[Page, Depends(_of_guest)]
"""Somebody who is signed in. Anybody else is sent to the sign-in."""
StrangerPage = Annotated[Page, Depends(_of_stranger)]
"""Anybody."""
