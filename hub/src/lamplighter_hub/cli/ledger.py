"""`lamplighter ledger`, `completeness`: what is stored and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.show import Column, clock
from lamplighter_hub.cli.words import Device, From, Limit, To, span_ms

app = typer.Typer(rich_markup_mode="rich")

SHOWN_RANGES: Final = 5
COLUMNS = (
    Column("agent", "agent"),
    Column("stream", "stream"),
    Column("through", "through", "number"),
    Column("sent", "sent", "number"),
    Column("received", "received", "number"),
    Column("stored", "stored", "number"),
    Column("duplicate", "duplicate", "number"),
    Column("quarantined", "quarantined", "number"),
    Column("dropped", "dropped", "number"),
    Column("held", "held", "number"),
    Column("missing", "missing_text"),
    Column("since", "oldest", "time"),
)
COMPLETENESS_COLUMNS = (
    Column("metric", "metric"),
    Column("hour", "t", "time"),
    Column("expected", "expected", "number"),
    Column("stored", "stored", "number"),
    Column("flagged", "flagged", "number"),
    Column("complete %", "percent", "number"),
)
INTERVAL_OF: Final = {
    "asked": "as asked",
    "configuration": "as configured",
    "agent": "as agent.toml has it",
    "profile": "as its profile has it",
}
Hours = Annotated[bool, typer.Option("--hours", help="Each hour for itself.")]
Interval = Annotated[
    str, typer.Option("--interval", metavar="SPAN", help="Expect a reading so often, whatever is configured.")
]
AgentId = Annotated[str, typer.Argument(metavar="[AGENT]", help="Only this agent.")]


@app.command("ledger")
@connected
def ledger(at: Session, agent: AgentId = "", limit: Limit = 100_000) -> None:
    """Show what the hub has of each agent's streams. Exit code 1 when records are missing or unaccounted for.

    [bold]lamplighter ledger && echo nothing is missing[/bold]
    """
    rows = list(at.hub.items(f"/ledger/{agent}" if agent else "/ledger", limit=limit))
    if at.show.as_json:
        at.show.json(rows)
    else:
        used = [_told(row) for row in rows if row["sent"]]
        at.show.table(used, COLUMNS, f"{agent} has sent nothing yet" if agent else "no agent has sent anything yet")
        if rows:
            at.show.say(balance(rows))
            at.show.say(f"{_sum(rows, 'duplicate'):,} came again, {_sum(rows, 'missing_records'):,} missing")
            if not agent:
                at.show.say(_city(at.hub.get("/ledger-totals")))
    raise typer.Exit(1 if _sum(rows, "missing_records") or _sum(rows, "unaccounted") else 0)


def ranges(row: Mapping[str, Any]) -> str:
    """Return the missing ranges of a stream as text, a few of many.

    >>> ranges({"missing": [[3, 3], [7, 9]]}), ranges({"missing": []})
    ('3, 7-9', '')
    """
    found = [f"{first}-{last}" if last > first else str(first) for first, last in row.get("missing") or ()]
    more = len(found) - SHOWN_RANGES
    return ", ".join(found[:SHOWN_RANGES]) + (f" and {more} more" if more > 0 else "")


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    oldest = min((hole["since"] for hole in row.get("holes") or ()), default=None)
    return {**row, "missing_text": ranges(row), "oldest": oldest}


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(row[name] or 0 for row in rows)


def balance(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say in one line whether everything that was sent is accounted for, as far as agents have told.

    >>> row = {"sent": 9, "stored": 5, "quarantined": 1, "dropped": 1, "held": 2, "unaccounted": 0, "told_at": 7}
    >>> balance([row])
    '9 sent = 5 stored + 1 quarantined + 1 dropped + 2 still held: it adds up'
    >>> balance([row | {"held": 1, "unaccounted": 1}])
    '9 sent = 5 stored + 1 quarantined + 1 dropped + 1 still held + 1 UNACCOUNTED FOR'
    >>> balance([row | {"held": None, "unaccounted": None, "told_at": None}])
    'not known yet what 1 of 1 streams still hold: their agents have not said it since the hub started'
    """
    told = [row for row in rows if row["told_at"] is not None]
    parts = [_equation(told)] if told else []
    if untold := len(rows) - len(told):
        why = "their agents have not said it since the hub started"
        parts.append(f"not known yet what {untold} of {len(rows)} streams still hold: {why}")
    return "; ".join(parts)


def _equation(rows: Sequence[Mapping[str, Any]]) -> str:
    names = {"stored": "stored", "quarantined": "quarantined", "dropped": "dropped", "held": "still held"}
    terms = " + ".join(f"{_sum(rows, name):,} {word}" for name, word in names.items())
    text = f"{_sum(rows, 'sent'):,} sent = {terms}"
    unaccounted = _sum(rows, "unaccounted")
    return f"{text} + {unaccounted:,} UNACCOUNTED FOR" if unaccounted else f"{text}: it adds up"


def _city(totals: Mapping[str, Any]) -> str:
    lost = f"{totals['samples_lost_per_million']:,} of a million samples lost"
    asked = f"{totals['fetches']:,} fetches settled {totals['fetched_records']:,} records"
    return f"{lost}; {asked}" + (f"; {totals['violations']:,} VIOLATIONS" if totals["violations"] else "")


@app.command("completeness")
@connected
def completeness(
    at: Session, device: Device, start: From = None, end: To = None, hours: Hours = False, interval: Interval = ""
) -> None:
    """Show how complete a device's readings are: what was expected by its interval, and what is stored.

    [bold]lamplighter completeness air-1 --from 1d --hours[/bold]
    """
    asked = {"from": start, "to": end, "interval_s": span_ms(interval) / 1000 if interval else None}
    found = at.hub.get(f"/devices/{device}/completeness", asked)
    if at.show.as_json:
        at.show.json(found)
        return
    at.show.say(f"{device}: {_share(found)}", "bold")
    at.show.say(f"expected is a reading each {found['interval_s']:g} s ({INTERVAL_OF[found['interval_of']]})")
    rows = found["metrics"]
    if hours:
        rows = [
            {"metric": metric["metric"], **hour}
            for metric in found["metrics"]
            for hour in metric["hours"]
            if hour["expected"] or hour["stored"]
        ]
    columns = COMPLETENESS_COLUMNS if hours else [column for column in COMPLETENESS_COLUMNS if column.key != "t"]
    at.show.table(rows, columns, "nothing was expected in this time" if hours else "its profile has no metrics")


def _share(found: Mapping[str, Any]) -> str:
    """Word how complete a device is, and of which time that is said."""
    until = clock(found["to"])
    if found["percent"] is None:
        return f"nothing was expected until {until}"
    return f"{found['percent']:g} % complete from {clock(found['expected_from'])} to {until}"
