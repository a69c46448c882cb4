"""`lamplighter backup` and `lamplighter restore`: all that a hub keeps, in one file, and back again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.data import progress_bar, to_file
from lamplighter_hub.cli.show import Column, Show
from lamplighter_hub.cli.up import option, settings
from lamplighter_protocols.errors import LamplighterError

app = typer.Typer(rich_markup_mode="rich")

LOOK_S: Final = 0.2
Target = Annotated[Path, typer.Argument(metavar="FILE|DIR", help="New file, or the folder in which to make one.")]
Source = Annotated[Path, typer.Argument(metavar="FILE", help="A backup: the file, or a folder below DIR/backups.")]
NewFolder = Annotated[Path, typer.Option("--data", help="New or empty folder for everything the hub keeps.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave a copy on the hub, below DIR/backups.")]
RegistryUrl = Annotated[str, option("registry_url")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

COLUMNS = (
    Column("file", "file"),
    Column("bytes", "bytes", "number"),
    Column("moment", "moment", "time"),
    Column("readings", "series.points", "number"),
    Column("events", "series.events", "number"),
    Column("records stored", "ledger.stored", "number"),
    Column("records missing", "ledger.missing", "number"),
    Column("agents", "registry.agents", "number"),
    Column("devices", "registry.devices", "number"),
    Column("registry", "where"),
    Column("kept on the hub", "kept"),
)


@app.command("backup")
@connected
def backup(at: Session, target: Target, keep: Keep = False) -> None:
    """Copy all that a running hub keeps into one file: readings, ledger, registry and keys, as of one moment.

    The file holds secrets and is readable by its owner only. Nothing that was receipted before it is missing from it.

    [bold]lamplighter backup /var/backups/lamplighter[/bold]
    """
    file = _file(target)
    made = _made(at)
    place = f"/backups/{made['id']}"
    try:
        with at.hub.stream(f"{place}/archive") as pieces:
            to_file(pieces, file, private=True)
        manifest = _checked(file)
    finally:
        if not keep:
            at.hub.send("DELETE", place)
    kept = {"kept": f"backups/{made['id']}"} if keep else {}
    at.show.facts({"file": str(file), "bytes": file.stat().st_size, **manifest, **kept}, COLUMNS)


@app.command("restore")
def restore(source: Source, data: NewFolder, registry_url: RegistryUrl = "", as_json: AsJson = False) -> None:
    """Make a data folder of a backup, compare every checksum, and count what is in it. No hub needs to run.

    [bold]lamplighter restore lamplighter-20261125-081500.tar --data /var/lib/lamplighter[/bold]
    """
    checked = settings({"data": data, "registry_url": registry_url})
    from lamplighter_hub.assembly import restore_backup

    show = Show(as_json)
    try:
        restored = restore_backup(source, data, checked.registry_url)
    except LamplighterError as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(f"{error.filename or source}: {error.strerror or error}") from None
    contents = restored.manifest.contents.model_dump()
    show.facts(
        {"file": str(source), "moment": restored.manifest.moment, "where": restored.registry, **contents}, COLUMNS
    )
    show.note(
        "what agents delivered after that moment is gone with the old hub: `lamplighter ledger` lists it as missing"
    )


def _file(target: Path) -> Path:
    """Return the file to write. Raises Failed when it is there: a backup is never written over."""
    if target.is_dir():
        target /= time.strftime("lamplighter-%Y%m%d-%H%M%S.tar", time.gmtime())
    if target.exists():
        raise Failed(f"{target} is there already", "name a new file, or a folder")
    if not os.access(target.parent, os.W_OK):
        raise Failed(f"{target.parent} is no folder that can be written", "name another place")
    return target


def _made(at: Session) -> dict[str, Any]:
    """Let the hub make a backup, and wait until it has."""
    found: dict[str, Any] = at.hub.send("POST", "/backups")
    with progress_bar() as progress:
        task = progress.add_task("copying", total=None)
        while found["state"] == "running":
            time.sleep(LOOK_S)
            found = at.hub.get(f"/backups/{found['id']}")
            progress.update(task, description=found["step"] or "copying", completed=found["bytes"])
    if found["state"] != "done":
        raise Failed(f"the hub could not make a backup: {found['reason']}", "see its log")
    return found


def _checked(file: Path) -> dict[str, Any]:
    """Read the whole file again; return what it says of itself."""
    from lamplighter_hub.backup.archive import BadBackup, check

    try:
        manifest = check(file)
    except BadBackup as error:
        file.unlink(missing_ok=True)
        raise Failed(f"{error}; the file was removed", "try again") from None
    return {"moment": manifest.moment, **manifest.contents.model_dump()}
