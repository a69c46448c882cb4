"""How complete a device's readings are: what was expected of it, hour by hour, and what is stored."""

from __future__ import annotations

from collections.abc import Iterator
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
Origin = Literal["asked", "configuration", "profile"]
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
    interval_s: float
    interval_of: Origin = Field(description="Whether the interval was asked for, configured, or is the profile's.")
    expected: int
    stored: int
    percent: Percent
    metrics: list[MetricCompleteness]


class _Span(NamedTuple):
    start: int
    end: int
    interval_ms: float


@router.get("/devices/{device}/completeness")
def read_completeness(hub: Hub, _: Viewer, device: DevicePath, asked: Asked, interval: Interval = None) -> Completeness:
    """Show how complete a device's readings are by metric and hour, by default over the last day."""
    profile = hub.devices.profile(device)
    end = hub.clock() if asked.end is None else min(asked.end, hub.clock())
    start = end - DAY if asked.start is None else asked.start
    if not 0 < end - start <= LONGEST_MS:
        raise invalid("from", "must lie before `to` and before now, at most 32 days")
    seconds, origin = (interval, "asked") if interval else _interval(hub, device)
    span = _Span(start, end, seconds * 1000)
    with answering():
        metrics = [_metric(hub, device, name, span) for name in profile.metrics]
    expected = sum(metric.expected for metric in metrics)
    return Completeness.model_validate(
        {
            "device": device,
            "from": start,
            "to": end,
            "interval_s": seconds,
            "interval_of": origin,
            "expected": expected,
            "stored": sum(metric.stored for metric in metrics),
            "percent": _percent(sum(_counting(metric.hours) for metric in metrics), expected),
            "metrics": metrics,
        }
    )


def _interval(hub: Services, device: str) -> tuple[float, Origin]:
    """Return how often (s) a reading is expected: as the device says it is configured, else as its profile has it."""
    reported = hub.configuration.view(device).reported
    if reported is not None and reported.state == ConfigurationState.APPLIED.value:
        found = reported.document.get(FIELD)
        if isinstance(found, int | float) and found > 0:
            return max(SHORTEST_S, float(found)), "configuration"
    return max(SHORTEST_S, hub.devices.profile(device).interval_s), "profile"


def _metric(hub: Services, device: str, name: str, span: _Span) -> MetricCompleteness:
    found = hub.series.buckets(device, name, span.start, span.end, width_ms=HOUR, aggregation=Aggregation.MEAN)
    stored = {bucket.t: (bucket.count + bucket.quality, bucket.quality) for bucket in found}
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
    part = min(t + HOUR, span.end) - max(t, span.start)
    expected = round(part / span.interval_ms)
    return Hour(t=t, expected=expected, stored=stored, flagged=flagged, percent=_percent(stored, expected))


def _counting(hours: list[Hour]) -> int:
    return sum(min(hour.stored, hour.expected) for hour in hours)


def _percent(stored: int, expected: int) -> float | None:
    """Return a percentage that is 100 only when nothing is missing.

    >>> _percent(999_999, 1_000_000), _percent(7, 6), _percent(0, 0)
    (99.99, 100.0, None)
    """
    return min(100.0, stored * 10_000 // expected / 100) if expected else None
