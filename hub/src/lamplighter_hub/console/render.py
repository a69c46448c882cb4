"""Templates to responses: one Jinja environment for each language, autoescaped, undefined names are mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from lamplighter_hub.console import words
from lamplighter_hub.console.assets import Assets
from lamplighter_hub.console.filters import filters
from lamplighter_hub.console.i18n import LANGUAGES, Language
from lamplighter_hub.console.visitor import Visitor
from lamplighter_hub.services import Clock

FOLDER: Final = Path(__file__).parent / "templates"


class Renderer:
    """Turns a template and its values into a response in the visitor's language."""

    def __init__(self, assets: Assets, clock: Clock) -> None:
        self._assets = assets
        self._clock = clock
        self._environments = {code: self._environment(language) for code, language in LANGUAGES.items()}

    def page(self, request: Request, visitor: Visitor, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """Render a template; `path` and `visitor` are known to all of them."""
        template = self._environments[visitor.language.code].get_template(name)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        html = template.render(visitor=visitor, path=request.url.path, here=here, now=self._clock(), **values)
        return HTMLResponse(html, status, {"Vary": "Cookie, HX-Request, Accept-Language"})

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(language.translations, newstyle=True)  # type: ignore[attr-defined]
        environment.filters |= filters(language) | {"say": language.say}
        environment.globals |= {
            "static": self._assets.url,
            "language": language,
            "languages": list(LANGUAGES.values()),
            "words": words,
        }
        return environment


def is_fragment(request: Request) -> bool:
    """True when htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"
