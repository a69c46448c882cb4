"""The console: server-rendered pages for people, in Chinese and English, over the same services as the API."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from lamplighter_hub.console.assets import PREFIX, Assets, ImmutableFiles
from lamplighter_hub.console.pages import (
    commands,
    configuration,
    delivery,
    device,
    devices,
    links,
    overview,
    quarantine,
    sign_in,
)
from lamplighter_hub.console.problems import problem_pages
from lamplighter_hub.console.rates import Rates
from lamplighter_hub.console.render import Renderer
from lamplighter_hub.services import Services


def mount(app: FastAPI, services: Services) -> None:
    """Add the console's pages to the application. Raises AssetsMissing when it was installed without its files."""
    assets = Assets()
    renderer = Renderer(assets, services.clock)
    rates = Rates()
    app.state.console = renderer
    app.state.rates = rates
    app.state.render_problem = problem_pages(renderer)
    app.mount(PREFIX, ImmutableFiles(assets), name="console-static")
    for pages in (sign_in, overview, delivery, links, devices, device, configuration, commands, quarantine):
        app.include_router(pages.router)
    app.include_router(APIRouter(lifespan=rates.lifespan))
