"""`lamplighter verify`: whether everything that the hub keeps is what was written."""

from __future__ import annotations

import time
from typing import Any, Final

import typer

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.data import progress_bar
from lamplighter_hub.cli.show import Column

app = typer.Typer(rich_markup_mode="rich")

LOOK_S: Final = 0.2
COLUMNS = (
    Column("file", "path"),
    Column("what", "what"),
    Column("from", "from", "time"),
    Column("to", "to", "time"),
    Column("points", "points", "number"),
    Column("now", "now"),
)


@app.command("verify")
@connected
def verify(at: Session) -> None:
    """Read every stored file and compare its checksum. Exit code 1 when something is damaged and stays so.

    Roll-ups are made anew of their readings; damaged readings are left out of answers until their file is restored.

    [bold]lamplighter verify && echo everything is whole[/bold]
    """
    found = _done(at)
    lost = [one for one in found["damaged"] if not one["rebuilt"]]
    if at.show.as_json:
        at.show.json(found)
    else:
        rows = [{**one, "now": "made anew" if one["rebuilt"] else "damaged"} for one in found["damaged"]]
        at.show.table(rows, COLUMNS, "nothing is damaged")
        at.show.say(f"{found['files']:,} files read, {found['bytes'] / 1e6:,.1f} MB; {len(lost):,} damaged")
    raise typer.Exit(1 if lost else 0)


def _done(at: Session) -> dict[str, Any]:
    """Let the hub look, and wait until it has."""
    found: dict[str, Any] = at.hub.send("POST", "/verification")
    with progress_bar() as progress:
        task = progress.add_task("reading", total=found["of_bytes"])
        while found["state"] == "running":
            time.sleep(LOOK_S)
            found = at.hub.get("/verification")
            progress.update(task, completed=found["bytes"])
    if found["state"] != "done":
        raise Failed(f"the hub could not read everything: {found['reason']}", "see its log")
    return found
