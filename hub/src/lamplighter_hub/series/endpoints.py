"""What devices reported, over HTTP: latest values, charts, readings, events, exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictStr

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.devices.endpoints import DevicePath
from lamplighter_hub.errors import invalid
from lamplighter_hub.registry.paging import Cursor, Limit, Page
from lamplighter_hub.series import imports, stream
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.coarser import Wanted, coarser
from lamplighter_hub.series.exports import begun, events_csv, readings_csv
from lamplighter_hub.series.incomplete import Incomplete, header, incomplete
from lamplighter_hub.series.parquet import readings_parquet
from lamplighter_hub.series.store import Bucket
from lamplighter_hub.series.times import HOUR, Range, asked_range, human_width
from lamplighter_hub.services import Services
from lamplighter_protocols.profile import Aggregation, Metric
from lamplighter_protocols.readings import Quality, Reading

router = APIRouter(tags=["series"])
router.include_router(stream.router)
router.include_router(imports.router)

MOST_NAMES: Final = 1_000
CSV: Final = "text/csv; charset=utf-8"
PARQUET: Final = "application/vnd.apache.parquet"
Asked = Annotated[Range, Depends(asked_range)]
Value = StrictBool | StrictFloat | StrictStr | None
Names = Annotated[
    list[str], Query(default_factory=list, max_length=MOST_NAMES, description="May be repeated; all when absent.")
]


class LatestValue(BaseModel):
    """The newest reading of a metric; its value is null when only the quality is known."""

    metric: str = Field(examples=["pm25"])
    value: Value
    unit: str = Field(examples=["ug/m3"])
    quality: Quality
    t: int


class LatestValues(BaseModel):
    """The newest reading of each metric that a device ever had, in the profile's order."""

    device: str
    items: list[LatestValue]


class BucketItem(BaseModel):
    """The good values of a span that begins at `t`; `quality` counts the flagged ones, which are in no figure."""

    t: int
    count: int
    min: float | None
    max: float | None
    mean: float | None = Field(description="As the metric aggregates: mean, energy or circular mean, sum, or last.")
    last: Value
    quality: int
    flag: Quality | None = Field(description="Why it is flagged, when the bucket is a single reading that is.")


class Series(BaseModel):
    """A metric over time. Where nothing came there is no bucket: a gap stays a gap."""

    device: str
    metric: str
    unit: str
    aggregation: Aggregation
    start: int = Field(alias="from")
    end: int = Field(alias="to")
    width_ms: int = Field(description="Width of a bucket; 0 when every reading is its own bucket.")
    reduced: bool = Field(description="Whether several readings were put into one bucket.")
    coarser: bool = Field(
        description="Whether buckets are wider than they would be, as single readings of the range's begin are not "
        "kept any more. They are whole: the first may begin before the range, the last end after it."
    )
    readings: int = Field(description="How many readings the range holds.")
    readings_cut: int = Field(
        description="So many of them may lie beside the range: single readings are gone, and the finest that is left "
        "of them reaches over its edge."
    )
    buckets: list[BucketItem]
    incomplete: list[Incomplete] = Field(description="What may be missing because a stored file is damaged.")


class ReadingItem(BaseModel):
    """One reading."""

    device: str
    metric: str
    t: int
    value: Value
    quality: Quality


class ReadingPage(Page[ReadingItem]):
    """Some readings, and what may be missing in the whole range because a stored file is damaged."""

    incomplete: list[Incomplete]


class EventItem(BaseModel):
    """Something that happened."""

    device: str
    t: int
    name: str
    data: dict[str, Any]


@router.get("/devices/{device}/latest")
def read_latest(hub: Hub, _: Viewer, device: DevicePath) -> LatestValues:
    """Show the newest value of each of a device's metrics."""
    metrics = _metrics(hub, device)
    with answering():
        found = hub.series.latest([device]).get(device, {})
    order = [name for name in metrics if name in found] + sorted(found.keys() - metrics.keys())
    return LatestValues(device=device, items=[_latest(found[name], metrics.get(name)) for name in order])


@router.get("/devices/{device}/series")
def read_series(
    hub: Hub,
    _: Viewer,
    device: DevicePath,
    asked: Asked,
    metric: Annotated[str, Query(max_length=64, examples=["pm25"])],
    points: Annotated[int, Query(ge=1, le=10_000, description="About how many buckets at most.")] = 300,
) -> Series:
    """Show a metric over time, by default the last hour, reduced to about `points` buckets of a readable width.

    When the range holds no more readings than that, each one is returned as a bucket of its own.
    """
    known = _metrics(hub, device)
    with answering():
        if metric not in known and metric not in hub.series.metrics(device):
            raise invalid("metric", f"is not one of {device}'s: {', '.join(sorted(known))[:300]}")
        return _series(hub, device, (metric, known.get(metric)), asked, points)


@router.get("/devices/{device}/readings")
def list_readings(
    hub: Hub, _: Viewer, device: DevicePath, asked: Asked, metric: Names, limit: Limit = 100, cursor: Cursor = ""
) -> ReadingPage:
    """List readings as they came, by time, metric and arrival."""
    hub.devices.find(device)
    with answering():
        found, following = hub.series.readings(
            device, _given(metric), asked.begin, asked.stop, limit=limit, cursor=cursor or None
        )
        lacking = incomplete(hub, [device], _given(metric), asked.begin, asked.stop)
    items = [ReadingItem(**item._asdict()) for item in found]
    return ReadingPage(items=items, next=following, incomplete=lacking)


@router.get("/events")
def list_events(
    hub: Hub,
    _: Viewer,
    asked: Asked,
    device: Annotated[str, Query(max_length=64)] = "",
    name: Annotated[str, Query(max_length=64)] = "",
    *,
    oldest_first: bool = False,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Page[EventItem]:
    """List events, newest first unless told otherwise."""
    if device:
        hub.devices.find(device)
    with answering():
        found, following = hub.series.events(
            device or None,
            name or None,
            asked.begin,
            asked.stop,
            limit=limit,
            cursor=cursor or None,
            oldest_first=oldest_first,
        )
    return Page(items=[EventItem(**item._asdict()) for item in found], next=following)


@router.get("/export.csv", response_class=StreamingResponse, responses={200: {"content": {"text/csv": {}}}})
def export_readings(hub: Hub, _: Viewer, asked: Asked, device: Names, metric: Names) -> StreamingResponse:
    """Export readings of any number as CSV, by device, metric and time."""
    chunks = hub.series.export_readings(_devices(hub, device), _given(metric), asked.begin, asked.stop)
    return _file(readings_csv(chunks), "readings.csv", CSV, _lacking(hub, device, metric, asked))


@router.get("/export.parquet", response_class=StreamingResponse, responses={200: {"content": {PARQUET: {}}}})
def export_parquet(hub: Hub, _: Viewer, asked: Asked, device: Names, metric: Names) -> StreamingResponse:
    """Export readings of any number as one Parquet file, by device, metric and time."""
    chunks = hub.series.export_readings(_devices(hub, device), _given(metric), asked.begin, asked.stop)
    return _file(readings_parquet(chunks), "readings.parquet", PARQUET, _lacking(hub, device, metric, asked))


@router.get("/export-events.csv", response_class=StreamingResponse, responses={200: {"content": {"text/csv": {}}}})
def export_events(hub: Hub, _: Viewer, asked: Asked, device: Names, name: Names) -> StreamingResponse:
    """Export events of any number as CSV, by device and time; equal times in the order in which they arrived."""
    chunks = hub.series.export_events(_devices(hub, device), _given(name), asked.begin, asked.stop)
    return _file(events_csv(chunks), "events.csv", CSV)


def _series(hub: Services, device: str, named: tuple[str, Metric | None], asked: Range, points: int) -> Series:
    name, metric = named
    end = hub.clock() + 1 if asked.end is None else asked.end
    start = end - HOUR if asked.start is None else asked.start
    aggregation = metric.aggregation if metric else Aggregation.MEAN
    span = hub.series.span(device, name, start, end)
    reduced = span.points > points
    width = human_width(_seen(span.first, start, span.last, end), points) if reduced else 0
    if reduced:
        found = hub.series.buckets(device, name, start, end, width_ms=width, aggregation=aggregation)
        buckets = [_item(bucket, None) for bucket in found]
    else:
        readings, _ = hub.series.readings(device, [name], start, end, limit=points)
        buckets = [_item(_alone(item), None if item.quality is Quality.GOOD else item.quality) for item in readings]
    first = buckets[0].t if buckets else None
    left = coarser(hub.series, Wanted(device, name, start, end, aggregation), width, first)
    if left:
        width, buckets = left.width, [_item(bucket, None) for bucket in left.buckets]
    return Series.model_validate(
        {
            "device": device,
            "metric": name,
            "unit": metric.unit if metric else "",
            "aggregation": aggregation,
            "from": start,
            "to": end,
            "width_ms": width,
            "reduced": reduced or left is not None,
            "coarser": left is not None,
            "readings": span.points,
            "readings_cut": span.cut,
            "buckets": buckets,
            "incomplete": incomplete(hub, [device], [name], start, end),
        }
    )


def _seen(first: int | None, start: int, last: int | None, end: int) -> int:
    """Return the span (ms) that a reduction covers: what was asked for, or less where nothing lies."""
    return min(end, (last or end) + 1) - max(start, start if first is None else first)


def _alone(reading: Reading) -> Bucket:
    value = reading.value if reading.quality is Quality.GOOD else None
    figure = None if value is None or isinstance(value, str) else float(value)
    good = int(value is not None)
    return Bucket(reading.t, good, figure, figure, figure, value, 1 - good)


def _item(bucket: Bucket, flag: Quality | None) -> BucketItem:
    return BucketItem(**asdict(bucket), flag=flag)


def _latest(reading: Reading, metric: Metric | None) -> LatestValue:
    unit = metric.unit if metric else ""
    return LatestValue(metric=reading.metric, value=reading.value, unit=unit, quality=reading.quality, t=reading.t)


def _metrics(hub: Services, device: str) -> dict[str, Metric]:
    """Return the metrics of a device's profile; none when this hub does not have the profile. Raises NotFound."""
    profile = hub.profiles.get(hub.devices.find(device).profile)
    return profile.metrics if profile else {}


def _devices(hub: Services, devices: list[str]) -> list[str]:
    return [hub.devices.find(device).id for device in _given(devices)]


def _given(names: list[str]) -> list[str]:
    return [name for name in names if name]


def _lacking(hub: Services, devices: list[str], metrics: list[str], asked: Range) -> dict[str, str]:
    with answering():
        return header(incomplete(hub, _devices(hub, devices), _given(metrics), asked.begin, asked.stop))


def _file(
    chunks: Iterator[bytes], name: str, media_type: str, more: Mapping[str, str] | None = None
) -> StreamingResponse:
    with answering():
        ready = begun(chunks)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', **(more or {})}
    return StreamingResponse(ready, media_type=media_type, headers=headers)
