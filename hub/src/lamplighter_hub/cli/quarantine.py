"""`lamplighter quarantine`: what could not be taken, and the release of what can be taken after all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.group import group
from lamplighter_hub.cli.show import Column, clock
from lamplighter_hub.cli.words import Limit, moment, shift_ms
from lamplighter_hub.quarantine.shifts import write_shift

app = group("list", "Quarantine: what the hub could not take and why; release what it can take after all.")

COLUMNS = (
    Column("id", "id"),
    Column("at", "at", "time"),
    Column("agent", "agent"),
    Column("device", "device"),
    Column("channel", "channel"),
    Column("reason", "reason"),
    Column("field", "field"),
    Column("detail", "detail"),
    Column("device's time", "latest", "time"),
    Column("released", "released.at", "time"),
)
SHOWN = (
    *COLUMNS,
    Column("moved by ms", "released.shift_ms"),
    Column("released by", "released.by"),
    Column("payload", "payload"),
)
BASES: Final = {
    "constant": "its clock is off by the same in all of them",
    "time_zone": "its clock shows the time of another zone",
    "few": "too few to tell how far off its clock is",
    "varies": "its clock stepped again and again, or they were held back",
}

Agent = Annotated[str, typer.Option("--agent", help="Only from this agent.")]
OfDevice = Annotated[str, typer.Option("--device", help="Only of this device.")]
Reason = Annotated[str, typer.Option("--reason", help="Only for this reason.")]
EntryId = Annotated[str, typer.Argument(metavar="ID", help="Id of the entry.")]
EntryIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="These entries only.")]
Shift = Annotated[
    int | None, typer.Option("--shift", parser=shift_ms, metavar="SPAN", help="Move their times: 2h, -35d, 20782d4h.")
]
AsReceived = Annotated[bool, typer.Option("--as-received", help="The newest time of each becomes its arrival.")]
AsTheyAre = Annotated[
    bool,
    typer.Option("--as-they-are", help="Their times are right; the hub knows their device or metric now."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would become of them.")]
Arrived = Annotated[
    int | None,
    typer.Option("--from", parser=moment, metavar="TIME", help="Only what arrived since."),
]
ArrivedBefore = Annotated[
    int | None, typer.Option("--to", parser=moment, metavar="TIME", help="Only what arrived before.")
]


@app.command("list")
@connected
def list_entries(
    at: Session, agent: Agent = "", device: OfDevice = "", reason: Reason = "", limit: Limit = 100
) -> None:
    """List what was set aside, the newest first, and how what waits can be released.

    [bold]lamplighter quarantine --agent pole-17 --reason unknown_device[/bold]
    """
    asked = {"agent": agent, "device": device, "reason": reason}
    empty = "nothing of this is in quarantine" if any(asked.values()) else "nothing is in quarantine"
    at.show.table(list(at.hub.items("/quarantine", asked, limit=limit)), COLUMNS, empty)
    if not at.show.as_json:
        for found in _of("/quarantine-clocks", at, agent, device):
            at.show.note(_advice(found))
        for found in _of("/quarantine-unknown", at, agent, device):
            at.show.note(_told_of_unknown(found))


@app.command("show")
@connected
def show_entry(at: Session, entry: EntryId) -> None:
    """Show one entry with the payload that came.

    [bold]lamplighter quarantine show 01M85BXD602SVA26V2X7100000[/bold]
    """
    at.show.facts(at.hub.get(f"/quarantine/{entry}"), SHOWN)


@app.command("release")
@connected
def release(
    at: Session,
    entries: EntryIds = None,
    agent: Agent = "",
    device: OfDevice = "",
    shift: Shift = None,
    as_received: AsReceived = False,
    as_they_are: AsTheyAre = False,
    dry_run: DryRun = False,
    start: Arrived = None,
    end: ArrivedBefore = None,
) -> None:
    """Store what was set aside, with the right times, or because the hub knows it now. Look first with --dry-run.

    [bold]lamplighter quarantine release --device air-1 --shift 20782d4h --dry-run[/bold]

    [bold]lamplighter quarantine release --agent pole-17 --shift -8h[/bold]           a clock that shows another zone

    [bold]lamplighter quarantine release --device air-1 --as-received[/bold]          if each was sent at once

    [bold]lamplighter quarantine release --device air-1 --as-they-are[/bold]          its profile has the metric now
    """
    if [shift is not None, as_received, as_they_are].count(True) != 1:
        raise Failed("say what the right times are", _ways(at, agent, device))
    asked = {
        "ids": entries or [],
        "agent": agent or None,
        "device": device or None,
        "from": start,
        "to": end,
        "shift_ms": shift,
        "as_received": as_received,
        "as_they_are": as_they_are,
        "dry_run": dry_run,
    }
    done = _release(at, asked)
    if at.show.as_json:
        at.show.json(done)
        return
    at.show.say(_told(done, "would be released" if dry_run else "released"), "bold")
    for kept in done["kept"]:
        at.show.note(f"stays: {kept['id']}: {kept['why']}")


def _release(at: Session, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Ask until nothing more can be released; a call takes as much as one commit does."""
    done: dict[str, Any] = at.hub.send("POST", "/quarantine/release", asked)
    while done["more"]:
        done = _added(done, at.hub.send("POST", "/quarantine/release", asked))
    return done


def _added(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    times = [found[name] for found in (before, now) for name in ("earliest", "latest") if found[name] is not None]
    return {
        **now,
        "released": before["released"] + now["released"],
        "repetitions": before["repetitions"] + now["repetitions"],
        "earliest": min(times, default=None),
        "latest": max(times, default=None),
    }


def _told(done: Mapping[str, Any], verb: str) -> str:
    text = f"{done['released']:,} {verb}"
    if done["earliest"] is not None:
        text += f", now from {clock(done['earliest'])} to {clock(done['latest'])}"
    if done["repetitions"]:
        text += f"; {done['repetitions']:,} of them had come twice and bring nothing new"
    return text + (f"; {done['staying']:,} stay" if done["staying"] else "")


def _of(path: str, at: Session, agent: str, device: str) -> list[dict[str, Any]]:
    found = at.hub.get(path)
    return [one for one in found if agent in {"", one["agent"]} and device in {"", one["device"]}]


def _ways(at: Session, agent: str, device: str) -> str:
    found = [one for one in _of("/quarantine-clocks", at, agent, device) if one["shift_ms"] is not None]
    ways = "give --shift SPAN, --as-received if each was sent at once, or --as-they-are if their times are right"
    return (
        f"{ways}; for {found[0]['device']} it would be --shift {write_shift(found[0]['shift_ms'])}" if found else ways
    )


def _advice(found: Mapping[str, Any]) -> str:
    text = f"{found['device']}: {found['entries']:,} wait for their times, {BASES[found['basis']]}: "
    command = f"lamplighter quarantine release --device {found['device']}"
    if found["shift_ms"] is None:
        return f"{text}{command} --shift SPAN, or --as-received if each was sent at once"
    return f"{text}{command} --shift {write_shift(found['shift_ms'])}"


def _told_of_unknown(found: Mapping[str, Any]) -> str:
    text = f"{found['device'] or found['agent']}: {found['entries']:,} wait, {found['reason']}: "
    if found["why"]:
        return f"{text}{found['why']}"
    command = f"lamplighter quarantine release --device {found['device']} --as-they-are"
    return f"{text}{found['field']} is known by now: {command}"
