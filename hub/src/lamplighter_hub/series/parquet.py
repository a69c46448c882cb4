"""Parquet of any length, streamed: row groups as DuckDB writes them, one after the other, and one footer for all.

DuckDB writes a whole file and knows no stream. So each piece becomes a small file of one row group, its bytes are
handed on, and its entry in the footer is kept with the places moved: some 700 bytes for 100,000 readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from lamplighter_hub.series.engine import EngineError, line, quoted, scratch
from lamplighter_hub.series.store import SeriesError
from lamplighter_hub.series.thrift import I64, LIST, Reader, Struct, written
from lamplighter_protocols.readings import Quality, Reading, Value

MAGIC: Final = b"PAR1"
GROUP: Final = 100_000
"""Readings in a row group, at least; the last one may have fewer."""
FETCH: Final = 5_000
_TAIL: Final = 8
# Field numbers of parquet.thrift: FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_AT, _ORDINAL = 1, 5, 7
_CHUNK_AT, _META, _INDEXES = 2, 3, (4, 6)
_PAGES: Final = (9, 10, 11, 14)
_COPY: Final = """
COPY (SELECT device, metric, t::BIGINT AS t, number::DOUBLE AS number, truth::BOOLEAN AS truth, text::VARCHAR AS text,
             quality FROM incoming)
TO {target} (FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, ROW_GROUP_SIZE 1000000)
"""
_COLUMNS_READ: Final = ("device", "metric", "t", "number", "truth", "text", "quality")


def readings_parquet(chunks: Iterable[Sequence[Reading]]) -> Iterator[bytes]:
    """Yield the Parquet file of readings, of any number: columns device, metric, t (ms), number, truth, text, quality.

    Of number, truth and text at most one has a value. Raises SeriesError.
    """
    footer: Struct = {}
    place = len(MAGIC)
    yield MAGIC
    with TemporaryDirectory(prefix="lamplighter-export-") as folder:
        for group in _groups(chunks):
            body, part = _apart(_file_of(group, Path(folder) / "group.parquet"))
            footer = _joined(footer, part, place - len(MAGIC))
            place += len(body)
            yield body
    tail = written(footer)
    yield tail + len(tail).to_bytes(4, "little") + MAGIC


def parquet_rows(path: Path) -> Iterator[tuple[str, str, int, Value | None, Quality]]:
    """Yield the readings of a Parquet file in the order of its rows, a few thousand in memory at a time.

    Raises SeriesError when it is no Parquet file, or not one of readings.
    """
    query = f"SELECT {', '.join(_COLUMNS_READ)} FROM read_parquet({quoted(path)})"  # noqa: S608 (a path of the caller)
    try:
        with closing(scratch()) as db:
            db.execute(query)
            while rows := db.fetchmany(FETCH):
                for device, metric, t, number, truth, text, quality in rows:
                    value = next((one for one in (number, truth, text) if one is not None), None)
                    yield device, metric, t, value, quality
    except EngineError as error:
        raise SeriesError(f"{path} is no Parquet file of readings: {line(error)}") from error
    except UnicodeDecodeError as error:  # DuckDB quotes what it found in the words of its error
        raise SeriesError(f"{path} is no Parquet file of readings: a name in it is not UTF-8") from error


def _groups(chunks: Iterable[Sequence[Reading]]) -> Iterator[list[Reading]]:
    """Join chunks to row groups; there is always one, so that an empty file has its columns."""
    group: list[Reading] = []
    first = True
    for chunk in chunks:
        group += chunk
        if len(group) >= GROUP:
            yield group
            group, first = [], False
    if group or first:
        yield group


def _file_of(group: Sequence[Reading], target: Path) -> bytes:
    try:
        with closing(scratch()) as db:
            db.register("incoming", _columns(group))
            db.execute(_COPY.format(target=quoted(target)))
        return target.read_bytes()
    except (EngineError, OSError) as error:
        raise SeriesError(f"the export could not be written: {str(error).splitlines()[0]}") from error


def _columns(group: Sequence[Reading]) -> dict[str, Any]:
    return {
        "device": _objects(item.device for item in group),
        "metric": _objects(item.metric for item in group),
        "t": np.fromiter((item.t for item in group), np.int64, len(group)),
        "number": np.ma.masked_array(*_numbers(group)),
        "truth": _objects(item.value if isinstance(item.value, bool) else None for item in group),
        "text": _objects(item.value if isinstance(item.value, str) else None for item in group),
        "quality": _objects(item.quality.value for item in group),
    }


def _numbers(group: Sequence[Reading]) -> tuple[Any, Any]:
    given = [isinstance(item.value, float) for item in group]
    values = [item.value if there else 0.0 for item, there in zip(group, given, strict=True)]
    return np.array(values, dtype=np.float64), ~np.array(given, dtype=np.bool_)


def _objects(values: Iterable[Any]) -> Any:
    found = list(values)
    column = np.empty(len(found), dtype=np.object_)
    column[:] = found
    return column


def _apart(data: bytes) -> tuple[bytes, Struct]:
    """Return what lies between the magic numbers of a file before its footer, and the footer."""
    size = int.from_bytes(data[-_TAIL:-4], "little")
    return data[len(MAGIC) : -_TAIL - size], Reader(data[-_TAIL - size : -_TAIL]).struct()


def _joined(footer: Struct, part: Struct, moved: int) -> Struct:
    """Return a footer with the row groups of a part behind its own, their places moved by so many bytes."""
    groups = part[_GROUPS][1][1]
    before = footer[_GROUPS][1][1] if footer else []
    for ordinal, group in enumerate(groups, len(before)):
        _move(group, moved, (_GROUP_AT,))
        if _ORDINAL in group:
            group[_ORDINAL] = (group[_ORDINAL][0], ordinal)
        for chunk in group[_COLUMNS][1][1]:
            _move(chunk, moved, (_CHUNK_AT, *_INDEXES))
            _move(chunk[_META][1], moved, _PAGES)
    rows = part[_ROWS][1] + (footer[_ROWS][1] if footer else 0)
    before += groups
    return {**(footer or part), _ROWS: (I64, rows), _GROUPS: (LIST, (part[_GROUPS][1][0], before))}


def _move(struct: Struct, moved: int, fields: Iterable[int]) -> None:
    """Move the places that stand in some fields; 0 is how DuckDB writes none."""
    for number in fields:
        if number in struct and struct[number][1]:
            struct[number] = (struct[number][0], struct[number][1] + moved)
