"""`lamplighter devices`, `agents`, `refusals`: what is there and how it is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.group import group
from lamplighter_hub.cli.show import Column
from lamplighter_hub.cli.words import Device, Limit

devices = group("list", "Devices: what they are, and whether they are there.")
agents = group("list", "Agents: the processes beside the devices.")
app = typer.Typer(rich_markup_mode="rich")

State = Annotated[str, typer.Option("--state", help="Only online, offline or unknown.")]
Profile = Annotated[str, typer.Option("--profile", help="Only of this profile.")]
Agent = Annotated[str, typer.Option("--agent", help="Only behind this agent.")]
Search = Annotated[str, typer.Option("--search", "-q", help="Only with this text in the id.")]
AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]
AgentIds = Annotated[list[str], typer.Argument(metavar="AGENT...", help="Ids of the agents.")]

DEVICE_COLUMNS = (
    Column("device", "id"),
    Column("state", "state"),
    Column("reason", "reason"),
    Column("since", "since", "time"),
    Column("profile", "profile"),
    Column("agent", "agent"),
    Column("last heard", "last_heard", "time"),
)
AGENT_COLUMNS = (
    Column("agent", "id"),
    Column("state", "state"),
    Column("reason", "reason"),
    Column("since", "since", "time"),
    Column("last heard", "last_heard", "time"),
    Column("version", "agent_version"),
    Column("devices", "devices", "number"),
    Column("bytes up", "link.up", "number"),
    Column("bytes down", "link.down", "number"),
    Column("data budget", "link.budget"),
    Column("revoked", "revoked_at", "time"),
)
REFUSAL_COLUMNS = (
    Column("last", "last_at", "time"),
    Column("who", "who"),
    Column("why", "why"),
    Column("detail", "detail"),
    Column("times", "count", "number"),
    Column("first", "first_at", "time"),
)
LATEST_COLUMNS = (
    Column("metric", "metric"),
    Column("value", "value", "number"),
    Column("unit", "unit"),
    Column("quality", "quality"),
    Column("time", "t", "time"),
)


@devices.command("list")
@connected
def list_devices(
    at: Session, state: State = "", profile: Profile = "", agent: Agent = "", search: Search = "", limit: Limit = 1000
) -> None:
    """List devices with state and reason.

    [bold]lamplighter devices --state offline[/bold]
    [bold]lamplighter devices --json | jq '.[].id'[/bold]
    """
    query = {"state": state, "profile": profile, "agent": agent, "q": search}
    with at.show.busy("asking for devices"):
        found = list(at.hub.items("/devices", query, limit=limit))
    at.show.table(found, DEVICE_COLUMNS, "no device: give an agent a code with `lamplighter enroll-code`")


@devices.command("show")
@connected
def show_device(at: Session, device: Device) -> None:
    """Show one device: state, configuration versions and its latest values.

    [bold]lamplighter devices show air-1[/bold]
    """
    found = at.hub.get(f"/devices/{device}")
    latest = _latest(at.hub.get(f"/devices/{device}/latest"))
    at.show.facts(
        {**found, "latest": latest},
        (
            *DEVICE_COLUMNS,
            Column("configuration desired", "configuration.desired_version"),
            Column("configuration reported", "configuration.reported_version"),
        ),
    )
    if latest and not at.show.as_json:
        at.show.table(latest, LATEST_COLUMNS, "")


def _latest(body: Any) -> list[dict[str, Any]]:
    items = body.get("items", body.get("metrics", body)) if isinstance(body, dict) else body
    if isinstance(items, dict):
        return [{"metric": name, **reading} for name, reading in items.items() if isinstance(reading, dict)]
    return list(items or ())


def _told(agent: dict[str, Any]) -> dict[str, Any]:
    """Say where an agent's use of its link is not known: it has not spoken of it since the hub started."""
    untold = agent["link"] is None and agent["agent_version"]
    return agent | {"link": {"budget": "not said yet"}} if untold else agent


@agents.command("list")
@connected
def list_agents(at: Session, limit: Limit = 1000) -> None:
    """List agents with state and reason, and what their links carried on the day (UTC) that they spoke of last."""
    found = list(at.hub.items("/agents", limit=limit))
    if not at.show.as_json:
        found = [_told(agent) for agent in found]
    at.show.table(found, AGENT_COLUMNS, "no agent: give one a code with `lamplighter enroll-code`")


@agents.command("create")
@connected
def create_agents(at: Session, names: AgentIds) -> None:
    """Make identities for clients that speak MQTT themselves. Their passwords are shown only now.

    [bold]lamplighter agents create pole-9[/bold]
    """
    made = at.hub.send("POST", "/agents", {"agents": [{"id": name} for name in names]})
    if at.show.as_json:
        at.show.json(made)
        return
    at.show.table(made["items"], (Column("agent", "agent"), Column("password", "password")), "")
    at.show.note(f"user name and client id are the agent's id; the broker is {made.get('mqtt_url', '')}")


@agents.command("revoke")
@connected
def revoke_agent(at: Session, agent: AgentId) -> None:
    """Refuse an agent from now on: its secret opens nothing any more.

    [bold]lamplighter agents revoke pole-17[/bold]
    """
    at.hub.send("DELETE", f"/agents/{agent}")
    at.show.say(f"{agent} is revoked; what it sent is kept")


@app.command("refusals")
@connected
def refusals(at: Session, limit: Limit = 100) -> None:
    """List connections that the broker refused: who tried, why, how often."""
    at.show.table(list(at.hub.items("/refusals", limit=limit)), REFUSAL_COLUMNS, "nobody was refused")
