"""Errors as pages: the same problems that the API words in English, translated by their code."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from lamplighter_hub.access.dependencies import known
from lamplighter_hub.api import RenderProblem
from lamplighter_hub.console.i18n import Language
from lamplighter_hub.console.render import Renderer, is_fragment
from lamplighter_hub.console.visitor import Visitor, stranger
from lamplighter_hub.console.words import PROBLEMS
from lamplighter_hub.errors import HubError, Problem


@dataclass(frozen=True)
class ShownProblem:
    """An error as a page shows it."""

    title: str
    text: str
    request_id: str = ""


def shown(language: Language, code: str, detail: str, request_id: str = "") -> ShownProblem:
    """Return a problem in the visitor's language; one without a translation keeps the API's English detail."""
    if code not in PROBLEMS:
        return ShownProblem(language.say(PROBLEMS["invalid"][0]), detail, request_id)
    title, text = PROBLEMS[code]
    return ShownProblem(language.say(title), language.say(text), request_id)


def sentence(language: Language, error: HubError) -> str:
    """Return one translated line for an error that a form shows above its fields."""
    problem = shown(language, error.code, error.detail)
    return f"{problem.title}. {problem.text}" if error.code in PROBLEMS else error.detail


def problem_pages(renderer: Renderer) -> RenderProblem:
    """Return what answers a browser's request outside the API when it fails."""

    def render(request: Request, problem: Problem) -> Response | None:
        if problem.status == 401 and not is_fragment(request) and request.method == "GET":
            return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
        return _page(renderer, request, problem)

    return render


def _page(renderer: Renderer, request: Request, problem: Problem) -> Response:
    visitor = _visitor(request)
    values = {"problem": shown(visitor.language, problem.code, problem.detail, problem.request_id)}
    name = "parts/problem.html" if is_fragment(request) else "problem.html"
    return renderer.page(request, visitor, name, problem.status, **values)


def _visitor(request: Request) -> Visitor:
    base = stranger(request)
    try:
        return Visitor(base.language, base.theme, known(request))
    except HubError:
        return base
