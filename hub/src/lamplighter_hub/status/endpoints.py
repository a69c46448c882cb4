"""Status, health and metrics over HTTP."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lamplighter_hub.access.dependencies import Hub, Viewer, client_address, principal
from lamplighter_hub.errors import Unavailable

router = APIRouter(tags=["status"])
bare_router = APIRouter(tags=["status"])
"""Outside the prefix."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


class Status(BaseModel):
    """What the hub says of itself. `parts` holds what its parts add: broker, uplink, queue, series, ledger, live."""

    version: str
    now: int
    agents: dict[str, int] = Field(examples=[{"online": 12, "offline": 1, "unknown": 0}])
    devices: dict[str, int]
    commands: dict[str, int]
    configuration_pending: int
    refusals: dict[str, int] = Field(description="Since the start, by reason.")
    parts: dict[str, Any]


class Health(BaseModel):
    """The hub answers, and its registry does."""

    status: Literal["ok"] = "ok"


@router.get("/status")
def read_status(hub: Hub, _: Viewer) -> Status:
    """Say how the hub is."""
    return Status(
        version=version("lamplighter-hub"),
        now=hub.clock(),
        agents=hub.presence.summary(),
        devices=hub.devices.counts(),
        commands=hub.commands.totals(),
        configuration_pending=hub.configuration.pending(),
        refusals=dict(hub.refusals.totals()),
        parts={name: dict(fact()) for name, fact in hub.facts.items()},
    )


@bare_router.get("/healthz", openapi_extra={"security": []})
def read_health(hub: Hub) -> Health:
    """Answer 200 while the hub can work; for supervisors and load balancers."""
    try:
        with hub.registry.read() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        raise Unavailable("the registry does not answer", code="registry_unavailable") from None
    return Health()


@bare_router.get("/metrics", response_class=Response)
def read_metrics(request: Request, hub: Hub) -> Response:
    """Prometheus metrics; without a token from the hub's own machine only."""
    if client_address(request) not in _LOOPBACK or any(name in request.headers for name in _FORWARDED):
        principal(request)
    from lamplighter_hub.status.metrics import MEDIA_TYPE, exposition  # a hub that nobody scrapes does without it

    return Response(exposition(hub), media_type=MEDIA_TYPE)
