"""How complete a device's readings are: what was expected of it, hour by hour, and what is stored.

Nothing is expected from before the hub knew the device, unless there are readings from then: brought by an import, or
by a backlog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.devices.endpoints import DevicePath
from lamplighter_hub.errors import invalid
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.times import DAY, HOUR, Range, asked_range
from lamplighter_hub.services import Services
from lamplighter_protocols.configuration import ConfigurationState
from lamplighter_protocols.profile import Aggregation

router = APIRouter()

LONGEST_MS: Final = 32 * DAY
FIELD: Final = "interval_s"
Asked = Annotated[Range, Depends(asked_range)]
SHORTEST_S: Final = 0.001
"""Times are whole milliseconds: nothing is expected more often."""
Interval = Annotated[
    float | None,
    Query(alias=FIELD, ge=SHORTEST_S, le=86_400, description="Expect a reading so often, whatever is configured."),
]
Origin = Literal["asked", "configuration", "agent", "profile"]
Percent = Annotated[
    float | None,
    Field(description="Stored of expected, at most 100; null where nothing is expected.", examples=[99.97]),
]


class Hour(BaseModel):
    """An hour, or the part of it that was asked for. `stored` includes what was `flagged`."""

    t: int = Field(description="Where the hour begins.")
    expected: int
    stored: int
    flagged: int
    percent: Percent


class MetricCompleteness(BaseModel):
    """One metric over the whole range, and by hour."""

    metric: str
    expected: int
    stored: int
    flagged: int
    percent: Percent
    hours: list[Hour]


class Completeness(BaseModel):
    """A device over the whole range, and by metric. More than was expected in one hour does not make up for another."""

    device: str
    start: int = Field(alias="from")
    end: int = Field(alias="to")
    expected_from: int | None = Field(description="From when on readings are expected; null: from none of it on.")
    interval_s: float
    interval_of: Origin = Field(
        description="Whether the interval was asked for, is configured, is set at the agent, or is the profile's."
    )
    expected: int
    stored: int
    percent: Percent
    metrics: list[MetricCompleteness]


class _Span(NamedTuple):
    """The hours that are shown, and from when on (`owed`) a reading is expected each so many ms."""

    start: int
    end: int
    owed: int
    interval_ms: float


@router.get("/devices/{device}/completeness")
def read_completeness(hub: Hub, _: Viewer, device: DevicePath, asked: Asked, interval: Interval = None) -> Completeness:
    """Show how complete a device's readings are by metric and hour, by default over the last day.

    A range that begins or ends within an hour whose single readings are gone is widened to the whole hour.
    """
    profile = hub.devices.profile(device)
    end = hub.clock() if asked.end is None else min(asked.end, hub.clock())
    start = end - DAY if asked.start is None else asked.start
    if not 0 < end - start <= LONGEST_MS:
        raise invalid("from", "must lie before `to` and before now, at most 32 days")
    seconds, origin = (interval, "asked") if interval else _interval(hub, device)
    with answering():
        start, end = _known(hub, device, list(profile.metrics), (start, end))
        stored = {name: _stored(hub, device, name, start, end) for name in profile.metrics}
    owed = _owed(start, hub.devices.find(device).first_seen, stored)
    span = _Span(start, end, owed, seconds * 1000)
    metrics = [_metric(name, span, hours) for name, hours in stored.items()]
    expected = sum(metric.expected for metric in metrics)
    return Completeness.model_validate(
        {
            "device": device,
            "from": start,
            "to": end,
            "expected_from": owed if owed < end else None,
            "interval_s": seconds,
            "interval_of": origin,
            "expected": expected,
            "stored": sum(metric.stored for metric in metrics),
            "percent": _percent(sum(_counting(metric.hours) for metric in metrics), expected),
            "metrics": metrics,
        }
    )


def _interval(hub: Services, device: str) -> tuple[float, Origin]:
    """Return how often (s) a reading is expected: as it is configured, else set at the agent, else in the profile."""
    reported = hub.configuration.view(device).reported
    if reported is not None and reported.state == ConfigurationState.APPLIED.value:
        found = reported.document.get(FIELD)
        if isinstance(found, int | float) and found > 0:
            return max(SHORTEST_S, float(found)), "configuration"
    if often := hub.devices.find(device).interval_s:
        return max(SHORTEST_S, often), "agent"
    return max(SHORTEST_S, hub.devices.profile(device).interval_s), "profile"


def _known(hub: Services, device: str, metrics: Sequence[str], asked: tuple[int, int]) -> tuple[int, int]:
    """Return a range whose edges lie where it is known how many values there were: of some hours only the whole is."""
    start, end = asked
    low, high = start // HOUR * HOUR, -(-end // HOUR) * HOUR

    def cut(begin: int, stop: int) -> bool:
        return any(hub.series.span(device, name, begin, stop).cut for name in metrics)

    first = low if start > low and cut(start, min(low + HOUR, end)) else start
    return first, high if end < high and cut(max(high - HOUR, start), end) else end


def _stored(hub: Services, device: str, name: str, start: int, end: int) -> dict[int, tuple[int, int]]:
    """Return how many values of a metric are stored, and how many of them are flagged, by hour."""
    found = hub.series.buckets(device, name, start, end, width_ms=HOUR, aggregation=Aggregation.MEAN)
    return {bucket.t: (bucket.count + bucket.quality, bucket.quality) for bucket in found}


def _owed(start: int, first_seen: int, stored: Mapping[str, Mapping[int, object]]) -> int:
    """Return from when on readings are expected: since the hub knows the device, or since the first hour that has any.

    >>> _owed(0, 9 * HOUR + 5, {"power": {9 * HOUR: (1, 0)}}) == 9 * HOUR + 5, _owed(0, 9 * HOUR, {"power": {HOUR: 1}})
    (True, 3600000)
    """
    first = min((t for hours in stored.values() for t in hours), default=first_seen)
    return max(start, first if first < first_seen - first_seen % HOUR else first_seen)


def _metric(name: str, span: _Span, stored: Mapping[int, tuple[int, int]]) -> MetricCompleteness:
    hours = [_hour(t, span, *stored.get(t, (0, 0))) for t in _hours(span)]
    expected = sum(hour.expected for hour in hours)
    return MetricCompleteness(
        metric=name,
        expected=expected,
        stored=sum(hour.stored for hour in hours),
        flagged=sum(hour.flagged for hour in hours),
        percent=_percent(_counting(hours), expected),
        hours=hours,
    )


def _hours(span: _Span) -> Iterator[int]:
    return iter(range(span.start - span.start % HOUR, span.end, HOUR))


def _hour(t: int, span: _Span, stored: int, flagged: int) -> Hour:
    part = min(t + HOUR, span.end) - max(t, span.owed)
    expected = max(0, round(part / span.interval_ms))
    return Hour(t=t, expected=expected, stored=stored, flagged=flagged, percent=_percent(stored, expected))


def _counting(hours: list[Hour]) -> int:
    return sum(min(hour.stored, hour.expected) for hour in hours)


def _percent(stored: int, expected: int) -> float | None:
    """Return a percentage that is 100 only when nothing is missing.

    >>> _percent(999_999, 1_000_000), _percent(7, 6), _percent(0, 0)
    (99.99, 100.0, None)
    """
    return min(100.0, stored * 10_000 // expected / 100) if expected else None
