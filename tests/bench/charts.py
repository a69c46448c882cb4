"""Draws what `make bench` kept: throughput, latency, memory and processor over time, a picture for each timeline.

    PYTHONPATH=tests python -m bench.charts [bench-results/latest.json]

Needs `requirements/install bench`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from services.need import REPOSITORY

BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9730d", "#2e7d4f", "#777777"


class Line(NamedTuple):
    """One line of a panel: the column of the rows that it shows, its name and colour."""

    column: str
    name: str
    colour: str


class Panel(NamedTuple):
    """One of the charts of a picture, over the same time. `log` where what it shows spans powers of ten."""

    title: str
    lines: Sequence[Line]
    log: bool = False


PANELS = (
    Panel("stored, points/s", [Line("points_s", "points/s", BLUE)]),
    Panel(
        "sample to receipt, ms", [Line("p50_ms", "half within", BLUE), Line("p99_ms", "99 % within", ORANGE)], log=True
    ),
    Panel("backlog not yet stored, %", [Line("backlog_percent", "of the backlog", GREEN)]),
    Panel("queue before ingest, % full", [Line("queue_percent", "of the queue", GREEN)]),
    Panel("shed unread, messages/s", [Line("shed_s", "shed", ORANGE)]),
    Panel("resident memory, MB", [Line("hub_mb", "hub", BLUE), Line("broker_mb", "nats-server", ORANGE)]),
    Panel("processor, cores", [Line("hub_cores", "hub", BLUE), Line("broker_cores", "nats-server", ORANGE)]),
)


def column_of(rows: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Return the seconds at which a column was seen, and what it was then."""
    there = [(row["s"], row[name]) for row in rows if name in row]
    return [s for s, _ in there], [value for _, value in there]


def number(value: float) -> str:
    """Return a number for an axis."""
    return f"{value:,.10g}"


def shown(rows: Sequence[dict[str, float]]) -> list[Panel]:
    """Return the panels that these rows have anything for, be it once."""
    return [panel for panel in PANELS if any(row.get(line.column) for line in panel.lines for row in rows)]


def draw_all(kept: Path) -> Iterator[Path]:
    """Draw each timeline of a kept run into a picture beside it."""
    said: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    for timeline in said["timelines"]:
        path = kept.with_name(f"{timeline['name']}.png")
        draw(path, timeline["title"], timeline["rows"], said["machine"])
        yield path


def draw(path: Path, title: str, rows: Sequence[dict[str, float]], machine: str) -> None:
    """Draw one picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = shown(rows)
    picture, axes = plt.subplots(
        len(panels), 1, sharex=True, figsize=(9, 1.2 + 1.75 * len(panels)), layout="constrained", squeeze=False
    )
    for ax, panel in zip(axes[:, 0], panels, strict=True):
        _panel(ax, panel, rows)
    axes[-1, 0].set_xlabel("seconds")
    axes[-1, 0].set_xlim(0, rows[-1]["s"])
    picture.suptitle(title, fontsize=13, fontweight="bold")
    picture.supxlabel(machine, fontsize=8, color=GREY)
    picture.savefig(path, dpi=130)
    plt.close(picture)


def _panel(ax: Any, panel: Panel, rows: Sequence[dict[str, float]]) -> None:
    for line in panel.lines:
        ax.plot(*column_of(rows, line.column), color=line.colour, linewidth=1.4, label=line.name)
    ax.set_title(panel.title, loc="left", fontsize=9)
    if panel.log:
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(lambda value, _: number(value) if f"{value:e}"[0] in "2357" else "")
    else:
        ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(lambda value, _: number(value))
    ax.tick_params(which="both", labelsize=8)
    ax.grid(visible=True, linewidth=0.4, alpha=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1:
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


if __name__ == "__main__":
    for drawn in draw_all(Path(*sys.argv[1:2]) if sys.argv[1:] else REPOSITORY / "bench-results" / "latest.json"):
        print(drawn)
