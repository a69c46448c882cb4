"""Writing sealed files and roll-ups so that each is whole and durable before the manifest names it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from lamplighter_hub.series import manifest
from lamplighter_hub.series.engine import Cursor, EngineError, line, quoted, scratch
from lamplighter_hub.series.manifest import Rolled
from lamplighter_hub.series.store import SeriesError

# A dictionary of values that hardly come again is larger than what it stands for (docs/decisions/0088).
_FORMAT: Final = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 10000, ROW_GROUP_SIZE "
FORMAT: Final = f"{_FORMAT}245760"
FINE: Final = f"{_FORMAT}61440"
"""For files out of which one series is read at a time."""


def partial(final: Path) -> Path:
    """Return where a file is written before it gets its name."""
    return final.with_name(final.name + ".partial")


def copy(db: Cursor, query: str, final: Path, how: str = FORMAT) -> None:
    """Write the rows of a query beside the place of a file. Raises EngineError, OSError."""
    final.parent.mkdir(parents=True, exist_ok=True)
    db.execute(f"COPY ({query}) TO {quoted(partial(final))} ({how})")


def join(sources: Sequence[Path], final: Path) -> None:
    """Write the rows of files one behind the other. Raises SeriesError.

    It takes a database of one thread: that keeps the order, and the room of one row group, where two hold many.
    """
    paths = ", ".join(map(quoted, sources))
    try:
        with closing(scratch()) as db:
            db.execute(f"COPY (SELECT * FROM read_parquet([{paths}])) TO {quoted(final)} ({FORMAT})")  # noqa: S608
    except EngineError as error:
        raise SeriesError(f"{final.name} could not be written: {line(error)}") from error


def finish(seq: int, level: int, final: Path) -> Rolled:
    """Give a roll-up that was written its name, durably, and return its line of the manifest. Raises OSError."""
    written = partial(final)
    line = Rolled(seq, level, written.stat().st_size, manifest.checksum(written))
    manifest.make_durable(written, final)
    return line


def discard(path: Path) -> None:
    """Remove a file that nobody names, whether it has its name or not."""
    path.unlink(missing_ok=True)
    partial(path).unlink(missing_ok=True)
