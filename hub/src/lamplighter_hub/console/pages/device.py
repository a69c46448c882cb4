"""A device: charts and values, events. Every tab and every range has its own address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query
from starlette.responses import HTMLResponse

from lamplighter_hub.console import words
from lamplighter_hub.console.filters import span
from lamplighter_hub.console.i18n import N_
from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.console.pages.delivery import of_agent
from lamplighter_hub.console.shown import ShownReading, shown_device, shown_events, shown_readings
from lamplighter_hub.errors import NotFound
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.coarser import LEVELS, Wanted, coarser
from lamplighter_hub.series.incomplete import Incomplete, incomplete
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Bucket
from lamplighter_hub.series.times import human_width
from lamplighter_protocols.ids import DeviceId
from lamplighter_protocols.profile import Metric, Profile
from lamplighter_protocols.readings import Reading

router = APIRouter(include_in_schema=False, prefix="/devices/{device}")

DevicePath = Annotated[DeviceId, Path()]
RANGES: Final = {
    "15m": (900_000, N_("15 min")),
    "1h": (3_600_000, N_("1 h")),
    "6h": (21_600_000, N_("6 h")),
    "24h": (86_400_000, N_("24 h")),
    "7d": (7 * 86_400_000, N_("7 d")),
    "30d": (30 * 86_400_000, N_("30 d")),
}
CHARTS: Final = 8
FALLBACK_CHARTS: Final = 4
TABLE_ROWS: Final = 60
EVENTS: Final = 50
RECENT: Final = 5
MAX_SPAN_MS: Final = 10 * 366 * 86_400_000


@dataclass(frozen=True)
class ChartedMetric:
    """A metric with its newest reading; and when a table is asked for its buckets, and what they may lack."""

    name: str
    title: str
    unit: str
    decimals: int
    boolean: bool
    latest: Reading | None
    buckets: list[Bucket]
    coarser: str
    lacking: list[Incomplete]


@dataclass(frozen=True)
class Range:
    """Which time is shown: the last `span` ms, or a fixed one that ends at `end` (ms)."""

    code: str
    span: int
    end: int
    fixed: bool


@dataclass(frozen=True)
class SummaryView:
    """The summary tab as asked for."""

    device: str
    chosen: Range
    mode: str
    ranges: list[tuple[str, str]]
    metrics: list[ChartedMetric]
    width_text: str
    flags: dict[str, str]
    coarser: dict[int, str]
    problem: str

    @property
    def range(self) -> str:
        """Code of the chosen range; empty for a fixed one."""
        return self.chosen.code

    @property
    def span(self) -> int:
        """Length of the range in ms."""
        return self.chosen.span

    @property
    def end(self) -> int:
        """End of the range in ms."""
        return self.chosen.end

    @property
    def fixed(self) -> bool:
        """True when the range does not move with the clock."""
        return self.chosen.fixed

    @property
    def from_text(self) -> str:
        """The range's begin as a date field wants it."""
        return _local_text(self.chosen.end - self.chosen.span)

    @property
    def to_text(self) -> str:
        """The range's end as a date field wants it."""
        return _local_text(self.chosen.end)

    def link(self, **changes: str) -> str:
        """Return the address with another range or form."""
        now = {"range": self.range, "view": self.mode}
        if self.fixed and "range" not in changes:
            now = {"from": self.from_text, "to": self.to_text, "view": self.mode}
        return f"/devices/{self.device}?{urlencode(now | changes)}"


@router.get("")
def summary(
    page: GuestPage,
    device: DevicePath,
    chosen: Annotated[str, Query(alias="range", max_length=8)] = "15m",
    start: Annotated[str, Query(alias="from", max_length=32)] = "",
    end: Annotated[str, Query(alias="to", max_length=32)] = "",
    view: Literal["chart", "table"] = "chart",
) -> HTMLResponse:
    """Show the device with its charts, or with the same values as tables."""
    values = head_values(page, device, "summary") | _now_values(page, device) | _recent_values(page, device)
    range_, problem = _range(page, chosen, start, end)
    width = human_width(range_.span, TABLE_ROWS)
    shown = SummaryView(
        device=device,
        chosen=range_,
        mode=view,
        ranges=[(code, page.language.say(text)) for code, (_, text) in RANGES.items()],
        metrics=_metrics(page, device, range_, width if view == "table" else 0),
        width_text=page.language.say(N_("one row for each %(time)s")) % {"time": span(page.language, width)},
        flags={code: page.language.say(text) for code, text in words.QUALITIES.items()},
        coarser={level: _coarser(page, level) for level in LEVELS},
        problem=problem,
    )
    agent = values["device"].agent
    return page.render("device/summary.html", view=shown, agent=agent, delivery=of_agent(page, agent), **values)


@router.get("/head")
def head(page: GuestPage, device: DevicePath, tab: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
    """Show the device's head again."""
    return page.render("device/_head.html", **head_values(page, device, tab))


@router.get("/latest")
def latest(page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Show the newest values again."""
    return page.render("device/_latest.html", **head_values(page, device, ""), **_now_values(page, device))


@router.get("/recent")
def recent(page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Show the latest events and commands again."""
    return page.render("device/_recent.html", **head_values(page, device, ""), **_recent_values(page, device))


@router.get("/events")
def events(
    page: GuestPage,
    device: DevicePath,
    name: Annotated[str, Query(max_length=64)] = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> HTMLResponse:
    """Show the device's events, newest first."""
    values = head_values(page, device, "events")
    profile = profile_of(page, device)
    with answering():
        found, following = page.hub.series.events(
            device, name or None, BEGINNING, END_OF_TIME, limit=EVENTS, cursor=cursor or None
        )
    given = {"name": name} if name else {}
    return page.render(
        "device/events.html",
        events=shown_events({device: profile}, page.language, found),
        names=[(code, page.language.pick(spec.title, code)) for code, spec in profile.events.items()]
        if profile
        else [],
        name=name,
        cursor=cursor,
        after=f"/devices/{device}/events?{urlencode(given | {'cursor': following})}" if following else "",
        **values,
    )


def head_values(page: Page, device: str, tab: str) -> dict[str, Any]:
    """Return what the head of a device's page shows. Raises NotFound."""
    return {"device": shown_device(page.hub, page.language, page.hub.devices.find(device)), "tab": tab}


def profile_of(page: Page, device: str) -> Profile | None:
    """Return a device's profile; None when this hub does not have it."""
    try:
        return page.hub.devices.profile(device)
    except NotFound:
        return None


def _now_values(page: Page, device: str) -> dict[str, list[ShownReading]]:
    with answering():
        found = page.hub.series.latest([device]).get(device, {})
    return {"latest": shown_readings(profile_of(page, device), page.language, found)}


def _recent_values(page: Page, device: str) -> dict[str, Any]:
    from lamplighter_hub.console.pages.commands import shown_commands  # commands uses our head

    found, _ = page.hub.series.events(device, None, BEGINNING, END_OF_TIME, limit=RECENT)
    return {
        "events": shown_events({device: profile_of(page, device)}, page.language, found),
        "commands": shown_commands(page, device, RECENT)[0],
    }


def _metrics(page: Page, device: str, chosen: Range, width: int) -> list[ChartedMetric]:
    profile = profile_of(page, device)
    latest = page.hub.series.latest([device]).get(device, {})
    found = []
    for name, metric in _charted(profile):
        table = _table(page, device, name, metric, chosen, width) if width else _Table([], "", [])
        title = page.language.pick(metric.title, name)
        boolean = metric.type == "boolean"
        found.append(ChartedMetric(name, title, metric.unit, metric.decimals, boolean, latest.get(name), *table))
    return found


def _charted(profile: Profile | None) -> list[tuple[str, Metric]]:
    """Return the metrics that are worth a chart: the primary ones, else the first few."""
    charted = [(n, m) for n, m in (profile.metrics.items() if profile else ()) if m.type != "string"]
    primary = [(name, metric) for name, metric in charted if metric.primary]
    return (primary or charted[:FALLBACK_CHARTS])[:CHARTS]


class _Table(NamedTuple):
    """Rows, the newest first, with what is to be said of them."""

    buckets: list[Bucket]
    coarser: str
    lacking: list[Incomplete]


def _table(page: Page, device: str, name: str, metric: Metric, chosen: Range, width: int) -> _Table:
    start, end, series = chosen.end - chosen.span, chosen.end, page.hub.series
    found = series.buckets(device, name, start, end, width_ms=width, aggregation=metric.aggregation)
    wanted = Wanted(device, name, start, end, metric.aggregation)
    left = coarser(series, wanted, width, found[0].t if found else None)
    lacking = incomplete(page.hub, [device], [name], start, end)
    if left:
        return _Table(left.buckets[::-1], _coarser(page, left.width), lacking)
    return _Table(found[::-1], "", lacking)


def _coarser(page: Page, width: int) -> str:
    """Say that only roll-ups are left."""
    text = page.language.say(N_("Single readings are not kept for so long. What is left: one value for each %(time)s."))
    return text % {"time": span(page.language, width)}


def _range(page: Page, code: str, start: str, end: str) -> tuple[Range, str]:
    """Return the range that was asked for, and what is wrong with it in one line."""
    now = page.hub.clock()
    length, _ = RANGES.get(code, RANGES["15m"])
    otherwise = Range(code if code in RANGES else "15m", length, now, fixed=False)
    if not start and not end:
        return otherwise, ""
    first, last = _local_ms(start), _local_ms(end)
    if first is None or last is None or not first < last <= first + MAX_SPAN_MS:
        return otherwise, page.language.say(N_("The end must be later than the begin, by ten years at most."))
    return Range("", last - first, last, fixed=True), ""


def _local_ms(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _local_text(t: int) -> str:
    return datetime.fromtimestamp(t / 1000).astimezone().strftime("%Y-%m-%dT%H:%M")
