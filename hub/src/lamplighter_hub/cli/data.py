"""`lamplighter query`, `events`, `export`, `import`: what devices reported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, Literal

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from lamplighter_hub.cli.importing import Done

from lamplighter_hub.cli.client import Failed, Hub, Query
from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.show import Column, console
from lamplighter_hub.cli.words import Device, From, Limit, To, moment
from lamplighter_hub.quarantine.shifts import write_shift

app = typer.Typer(rich_markup_mode="rich")

Metric = Annotated[str, typer.Argument(metavar="METRIC", help="Name of the metric, as the device's profile has it.")]
Points = Annotated[int, typer.Option("--points", min=1, max=10_000, help="Reduce to about so many intervals.")]
Raw = Annotated[bool, typer.Option("--raw", help="Every reading as it came, not reduced.")]
OfDevice = Annotated[str, typer.Option("--device", help="Only of this device.")]
Name = Annotated[str, typer.Option("--name", help="Only events of this name.")]
Devices = Annotated[list[str] | None, typer.Option("--device", help="Only this device; may be repeated.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Only this metric; may be repeated.")]
Events = Annotated[bool, typer.Option("--events", help="Events, not readings.")]
Format = Annotated[Literal["csv", "parquet"], typer.Option("--format", help="How to write readings.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, or Parquet if the name ends so.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file; it appears when complete.")]

COARSER: Final = (
    "single readings of this time are not kept any more: shown are the whole steps that are left and cover it"
)
INCOMPLETE: Final = "a damaged file may hold more, and is left out: {}"
BUCKET_COLUMNS = (
    Column("time", "t", "time"),
    Column("readings", "count", "number"),
    Column("min", "min", "number"),
    Column("mean", "mean", "mean"),
    Column("max", "max", "number"),
    Column("last", "last", "number"),
)
READING_COLUMNS = (
    Column("time", "t", "time"),
    Column("value", "value", "number"),
    Column("quality", "quality"),
)
EVENT_COLUMNS = (
    Column("time", "t", "time"),
    Column("device", "device"),
    Column("event", "name"),
    Column("data", "data"),
)


@app.command("query")
@connected
def query(
    at: Session,
    device: Device,
    metric: Metric,
    start: From = None,
    end: To = None,
    points: Points = 30,
    limit: Limit = 1000,
    raw: Raw = False,
) -> None:
    """Show a metric over time: count, min, mean, max and last of each interval. A gap stays a gap.

    [bold]lamplighter query air-1 pm25 --from 2h[/bold]
    [bold]lamplighter query air-1 pm25 --from 2026-11-24T08:00 --to 2026-11-24T09:00 --raw[/bold]
    """
    span: Query = {"metric": metric, "from": moment("1h") if start is None else start, "to": end}
    if raw:
        found = list(at.hub.items(f"/devices/{device}/readings", span, limit=limit))
        at.show.table(found, READING_COLUMNS, "no reading in this time: begin earlier with --from 1d")
        return
    series = at.hub.get(f"/devices/{device}/series", {**span, "points": points})
    for one in series["incomplete"]:
        at.show.note(INCOMPLETE.format(one["file"]))
    if series["coarser"]:
        at.show.note(COARSER)
    if at.show.as_json:
        at.show.json(series)
        return
    width = f"in steps of {write_shift(series['width_ms'])}" if series["width_ms"] else "every reading"
    unit = "" if series["unit"] in ("", "1") else f" in {series['unit']}"
    at.show.say(f"{device} {metric}{unit}, {width}", "bold")
    at.show.table(series["buckets"], BUCKET_COLUMNS, "no reading in this time: begin earlier with --from 1d")


@app.command("events")
@connected
def events(
    at: Session, device: OfDevice = "", name: Name = "", start: From = None, end: To = None, limit: Limit = 100
) -> None:
    """List events: what happened, when, with its data.

    [bold]lamplighter events --device kiosk-1 --from 1d[/bold]
    """
    asked: Query = {"device": device, "name": name, "from": start, "to": end}
    at.show.table(list(at.hub.items("/events", asked, limit=limit)), EVENT_COLUMNS, "no event in this time")


@app.command("export")
@connected
def export(
    at: Session,
    device: Devices = None,
    metric: Metrics = None,
    start: From = None,
    end: To = None,
    events: Events = False,
    name: Name = "",
    output: Output = None,
    form: Format = "csv",
) -> None:
    """Write readings as CSV or Parquet (or events as CSV), of any length, to a file or to standard output.

    [bold]lamplighter export --device air-1 --from 7d -o air-1.csv[/bold]
    [bold]lamplighter export --format parquet -o readings.parquet[/bold]
    [bold]lamplighter export --events --device signal-1 | head[/bold]
    """
    asked: Query = {"device": device or [], "metric": metric or [], "from": start, "to": end}
    if events:
        if form != "csv":
            raise Failed("events are written as CSV only", "leave --format out")
        asked = {"device": device or [], "name": name, "from": start, "to": end}

    def told(headers: Mapping[str, str]) -> None:
        if lacking := headers.get("Lamplighter-Incomplete"):
            at.show.note(INCOMPLETE.format(lacking))

    with at.hub.stream("/export-events.csv" if events else f"/export.{form}", asked, told) as pieces:
        written = to_file(pieces, output) if output else _to_output(pieces)
    if output:
        at.show.note(f"{written:,} bytes in {output}")


@app.command("import")
@connected
def import_(at: Session, files: Files) -> None:
    """Store the readings of exported files. What the hub has already is left out, so a file may be given again.

    [bold]lamplighter import air-1.csv readings.parquet[/bold]
    """
    for file in files:
        done = _imported(at.hub, file)
        if at.show.as_json:
            at.show.json({"file": str(file), **asdict(done)})
        else:
            at.show.note(f"{file}: {done.rows:,} rows, {done.stored:,} stored, {done.already_there:,} already there")


def _imported(hub: Hub, file: Path) -> Done:
    from lamplighter_hub.cli import importing  # with DuckDB and numpy, which no other command needs

    with progress_bar() as progress:
        task = progress.add_task(file.name, total=None)

        def tell(rows: int, place: int) -> None:
            progress.update(task, description=f"{file.name}: {rows:,} rows", completed=place)

        return importing.send(hub, file, tell)


def _to_output(pieces: Iterator[bytes]) -> int:
    return sum(sys.stdout.buffer.write(piece) for piece in pieces)


def to_file(pieces: Iterator[bytes], output: Path, *, private: bool = False) -> int:
    """Write beside the target and rename when complete: what breaks off leaves no file that looks whole.

    A device or a pipe is written to and never replaced. Others may not read a private file. Returns its length.
    """
    with _target(output, 0o600 if private else 0o666) as target, progress_bar() as progress:
        task = progress.add_task(output.name, total=None)
        written = 0
        for piece in pieces:
            written += target.write(piece)
            progress.update(task, completed=written)
        return written


@contextmanager
def _target(output: Path, mode: int) -> Iterator[BinaryIO]:
    """Open what is written to. Raises Failed that names it."""
    stays = output.exists() and not (output.is_file() or output.is_dir())
    try:
        with output.open("wb", buffering=0) if stays else _complete(output.resolve(), mode) as target:
            yield target
    except OSError as error:
        raise Failed(f"{output} cannot be written: {error.strerror or error}", "name another place") from None


@contextmanager
def _complete(output: Path, mode: int) -> Iterator[BinaryIO]:
    part = output.with_name(output.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def progress_bar() -> Progress:
    """Return a bar for bytes, on the error channel and only for people."""
    from rich import progress

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeElapsedColumn(),
        console=console(error=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
