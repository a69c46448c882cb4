"""Reads an exported file of any length and hands it to the hub in pieces: CSV as it is, Parquet as the same CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.cli.client import Failed, Hub, Problem, Query
from lamplighter_hub.errors import HubError
from lamplighter_hub.series.exports import READING_COLUMNS, as_text, type_of
from lamplighter_hub.series.importing import check_header
from lamplighter_hub.series.parquet import parquet_rows
from lamplighter_hub.series.store import SeriesError

ROWS: Final = 10_000
BYTES: Final = 500_000
"""A piece ends after so many rows or bytes, where series or time change."""
MOST_BYTES: Final = 1_000_000
KEY: Final = ("device", "metric", "t", "time")


class Row(NamedTuple):
    """A row of a file: where it stands there for people, how far into the file that is (bytes), and its cells."""

    where: str
    place: int
    cells: Sequence[str]


@dataclass
class Done:
    """What became of a file so far."""

    rows: int = 0
    stored: int = 0
    already_there: int = 0


def send(hub: Hub, file: Path, progress: Callable[[int, int], object]) -> Done:
    """Hand a file to the hub, telling how far it is (rows, bytes). Raises Failed: what is wrong, what is stored."""
    done = Done()
    try:
        header, rows = _parquet(file) if file.suffix == ".parquet" else _csv(file)
        for piece in pieces(header, rows):
            _send(hub, file, header, piece, done)
            progress(done.rows, piece[-1].place)
    except (OSError, SeriesError, HubError, UnicodeDecodeError, csv.Error) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise Failed(f"{file} cannot be read: {what}", _rest(done)) from None
    return done


def pieces(header: Sequence[str], rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Cut rows into pieces, never between rows of one series and time. Raises Failed when there are too many such."""
    key = [header.index(name) for name in KEY if name in header]
    piece: list[Row] = []
    size = 0
    before: list[str] = []
    for row in rows:
        here = [row.cells[place] for place in key if place < len(row.cells)]
        if piece and here != before and (len(piece) >= ROWS or size >= BYTES):
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += sum(len(cell.encode()) + 3 for cell in row.cells)
        if size > MOST_BYTES:
            raise Failed(f"{row.where}: too many rows of one series and time", "leave some of them out")
        before = here
    if piece:
        yield piece


def _send(hub: Hub, file: Path, header: Sequence[str], piece: list[Row], done: Done) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([header, *(row.cells for row in piece)])
    query: Query = {"first_row": done.rows + 1, "source": file.name[:200]}
    try:
        answer = hub.upload("/import.csv", query, text.getvalue().encode(), "text/csv")
    except Problem as problem:
        raise Failed(f"{file}, {_where(problem, piece, done.rows + 1)}", _rest(done)) from None
    done.rows += len(piece)
    done.stored += answer["stored"]
    done.already_there += answer["already_there"]


def _where(problem: Problem, piece: list[Row], first: int) -> str:
    """Return what is wrong with the place where a person finds it: the line of a CSV, the row of a Parquet file."""
    for error in problem.fields:
        place, _, column = str(error.get("field")).removeprefix("row ").partition(", ")
        if column and place.isdigit():
            more = f" (and {len(problem.fields) - 1} more)" if len(problem.fields) > 1 else ""
            return f"{piece[int(place) - first].where}, column {column}: {error.get('detail')}{more}"
    return f"from {piece[0].where} on: {problem.what}"


def _rest(done: Done) -> str:
    if not done.rows:
        return "nothing of it was stored; correct it and import it again"
    return f"the {done.rows:,} rows before are stored; correct it and import it again, they are not stored twice"


def _csv(file: Path) -> tuple[list[str], Iterator[Row]]:
    rows = _csv_rows(file)
    header = list(next(rows, Row("", 0, ())).cells)
    check_header(header)
    return header, rows


def _csv_rows(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as source:
        table = csv.reader(source, strict=True)
        place = 0
        line = 1
        for cells in table:
            place += sum(len(cell) + 1 for cell in cells)
            if cells:
                yield Row(f"line {line}", place, cells)
            line = table.line_num + 1


def _parquet(file: Path) -> tuple[list[str], Iterator[Row]]:
    file.open("rb").close()  # says in its own words that it is not there
    return list(READING_COLUMNS), _parquet_rows(file)


def _parquet_rows(file: Path) -> Iterator[Row]:
    for number, (device, metric, t, value, quality) in enumerate(parquet_rows(file), 1):
        cells = (device, metric, "", str(t), as_text(value), quality, type_of(value))
        yield Row(f"row {number}", 0, cells)
