"""Enrolment codes, enrolment itself, agents and refusals over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field, StringConstraints

from lamplighter_hub.access.bodies import Body, Note
from lamplighter_hub.access.dependencies import Administrator, Hub, Operator, Viewer, client_address
from lamplighter_hub.keys import PublicKey
from lamplighter_hub.presence.service import Standing
from lamplighter_hub.registry import models
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_hub.services import Services
from lamplighter_protocols.ids import AgentId, Ulid
from lamplighter_protocols.presence import LinkUse

router = APIRouter(tags=["enrolment"])

AgentPath = Annotated[AgentId, Path(description="An agent's id.")]
HEARD_WITHIN_S = 30
"""The promise that agents are asked to make."""


class NewCode(Body):
    """An enrolment code to make. With `agent` it is bound to that id, and may enrol it again."""

    agent: AgentId | None = Field(default=None, examples=["kiosk-3"])
    expires_in_s: Annotated[int, Field(ge=60, le=366 * 86_400)] = 86_400
    uses: Annotated[int, Field(ge=1, le=1000)] = 1
    note: Note = ""


class Code(BaseModel):
    """An open enrolment code, without the code itself."""

    id: str
    agent: str | None
    note: str
    uses_left: int
    expires_at: int
    created_at: int
    created_by: str


class CodeMade(Code):
    """A new code. `code` is shown this once."""

    code: str = Field(examples=["K7QF-2M9D-4HXA"])


class Enrol(Body):
    """What an agent sends to be enrolled. Any case, blanks and dashes of the code will do."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(examples=["K7QF-2M9D-4HXA"])
    agent: AgentId | None = Field(default=None, examples=["kiosk-3"])
    agent_version: Annotated[str, StringConstraints(max_length=64)] = Field(default="", examples=["0.1.0"])


class Mqtt(BaseModel):
    """How to reach the broker. `password` is shown this once; `username` is also the client id."""

    url: str = Field(examples=["mqtt://hub.city.example:1883"])
    username: str
    password: str


class HubKey(BaseModel):
    """An Ed25519 key to trust: its id and its raw bytes in base64url."""

    kid: str
    public_key: str


class Enrolled(BaseModel):
    """An identity, and what an agent must know of its hub."""

    agent: str
    mqtt: Mqtt
    hub_keys: list[HubKey]
    heard_within_s: int


class NewAgent(Body):
    """An agent to make an identity for."""

    id: AgentId = Field(examples=["kiosk-3"])


class NewAgents(Body):
    """Agents to make identities for, all or none."""

    agents: Annotated[list[NewAgent], Field(min_length=1, max_length=1000)]


class AgentMade(BaseModel):
    """A new identity. `password` is shown this once."""

    agent: str
    password: str


class AgentsMade(BaseModel):
    """New identities, and what all of them must know."""

    items: list[AgentMade]
    mqtt_url: str
    hub_keys: list[HubKey]


class Agent(BaseModel):
    """An agent: its identity, and whether it is there."""

    id: str
    enrolled_at: int
    revoked_at: int | None
    state: str = Field(examples=["online"])
    reason: str
    since: int | None
    last_heard: int | None
    session: int
    agent_version: str
    clock: str
    heard_within_s: int
    outbox: str
    devices: int = Field(description="How many devices it carries.")
    link: LinkUse | None = Field(
        description="What it said last of its link, and of a day's data budget; null: nothing since the hub's start. "
        "An agent that has something to say of it says so again by itself."
    )


class Refusal(BaseModel):
    """Somebody who was refused, why, how often and when."""

    who: str = Field(examples=["kiosk-3"])
    why: str = Field(examples=["wrong_password"])
    detail: str
    count: int
    first_at: int
    last_at: int


@router.post("/enrolment-codes", status_code=201)
def make_code(hub: Hub, who: Operator, body: NewCode) -> CodeMade:
    """Make a code that lets agents enrol; it is shown once."""
    row, code = hub.enrolment.new_code(
        who.issuer, agent=body.agent, expires_in_s=body.expires_in_s, uses=body.uses, note=body.note
    )
    return CodeMade(**_code(row).model_dump(), code=code)


@router.get("/enrolment-codes")
def list_codes(hub: Hub, _: Operator, limit: Limit = 100, cursor: Cursor = "") -> Page[Code]:
    """List open codes, oldest first."""
    after = read_cursor(cursor, str)
    rows = hub.enrolment.codes(after[0] if after else "", limit)
    following = write_cursor(rows[-1].id) if len(rows) == limit else None
    return Page(items=[_code(row) for row in rows], next=following)


@router.delete("/enrolment-codes/{code}", status_code=204)
def delete_code(hub: Hub, _: Operator, code: Annotated[Ulid, Path(description="A code's `id`.")]) -> None:
    """Take a code back."""
    hub.enrolment.delete_code(code)


@router.post("/enrol", openapi_extra={"security": []})
def enrol(request: Request, hub: Hub, body: Enrol) -> Enrolled:
    """Give an agent its identity for a code. Open to everybody, limited in how often one may guess."""
    identity = hub.enrolment.enrol(body.code, body.agent, client_address(request))
    mqtt = Mqtt(url=_mqtt_url(request, hub), username=identity.agent, password=identity.password)
    return Enrolled(agent=identity.agent, mqtt=mqtt, hub_keys=_keys(hub.keys.public()), heard_within_s=HEARD_WITHIN_S)


@router.post("/agents", status_code=201)
def make_agents(request: Request, hub: Hub, who: Administrator, body: NewAgents) -> AgentsMade:
    """Make identities for many agents at once; their passwords are shown once."""
    given = hub.enrolment.provision([agent.id for agent in body.agents], who.issuer)
    items = [AgentMade(agent=identity.agent, password=identity.password) for identity in given]
    return AgentsMade(items=items, mqtt_url=_mqtt_url(request, hub), hub_keys=_keys(hub.keys.public()))


@router.get("/agents")
def list_agents(hub: Hub, _: Viewer, limit: Limit = 100, cursor: Cursor = "") -> Page[Agent]:
    """List agents by id, revoked ones included."""
    after = read_cursor(cursor, str)
    rows = hub.enrolment.agents(after[0] if after else "", limit)
    following = write_cursor(rows[-1].id) if len(rows) == limit else None
    return Page(items=[_agent(hub, row) for row in rows], next=following)


@router.get("/agents/{agent}")
def read_agent(hub: Hub, _: Viewer, agent: AgentPath) -> Agent:
    """Show one agent."""
    return _agent(hub, hub.enrolment.agent(agent))


@router.delete("/agents/{agent}", status_code=204)
def revoke_agent(hub: Hub, _: Administrator, agent: AgentPath) -> None:
    """Revoke an agent's identity: it is cut off at once. Its data and devices stay known."""
    hub.enrolment.revoke(agent)


@router.get("/refusals")
def list_refusals(
    hub: Hub, _: Viewer, why: Annotated[str, Query(max_length=64)] = "", limit: Limit = 100, cursor: Cursor = ""
) -> Page[Refusal]:
    """List who was refused and why, the latest first. Bounded: the longest silent entries are forgotten first."""
    after = read_cursor(cursor, int, str, str)
    rows = [row for row in hub.refusals.rows() if not why or row.why == why]
    if after:
        rows = [row for row in rows if (-row.last_at, row.who, row.why) > (-after[0], after[1], after[2])]
    page = rows[:limit]
    following = write_cursor(page[-1].last_at, page[-1].who, page[-1].why) if len(rows) > limit else None
    items = [Refusal.model_validate(row, from_attributes=True) for row in page]
    return Page(items=items, next=following)


def _mqtt_url(request: Request, hub: Services) -> str:
    """Return the broker's address as seen from where the request came."""
    return hub.mqtt_url(request.url.hostname or hub.settings.host)


def _keys(keys: list[PublicKey]) -> list[HubKey]:
    return [HubKey(kid=key.kid, public_key=key.public_key) for key in keys]


def _code(row: models.EnrolmentCode) -> Code:
    return Code.model_validate(row, from_attributes=True)


def _agent(hub: Services, row: models.Agent) -> Agent:
    standing: Standing = hub.presence.standing(row.id)
    return Agent(
        id=row.id,
        enrolled_at=row.enrolled_at,
        revoked_at=row.revoked_at,
        state=standing.state,
        reason=standing.reason,
        since=standing.since,
        last_heard=standing.last_heard,
        session=standing.session,
        agent_version=standing.agent_version,
        clock=standing.clock,
        heard_within_s=standing.heard_within_s,
        outbox=standing.outbox,
        devices=hub.devices.carried_by(row.id),
        link=standing.link,
    )
