"""How much goes in one deletion: InfluxDB takes about as long for one series as for all of a device.

A deletion names a measurement, and a device, a metric, both or neither (docs/decisions/0049).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from lamplighter_hub.series.influx.reader import Series, by_device, packed

Tags = dict[str, str]
"""What a deletion names, by tag; what it does not name goes for all."""


class Old(NamedTuple):
    """What is older than `before` (ms) goes, of whatever has these tags."""

    before: int
    tags: Tags


def together(series: Iterable[Series], most: int) -> Iterator[list[Series]]:
    """Yield at most so many series at a time, and a device's together where they fit.

    >>> found = together([Series("a", "x", 0), Series("b", "x", 1), Series("b", "y", 2)], 2)
    >>> [[(one.device, one.metric) for one in part] for part in found]
    [[('a', 'x')], [('b', 'x'), ('b', 'y')]]
    """
    pieces = (own[place : place + most] for own in by_device(sorted(series)) for place in range(0, len(own), most))
    return packed(pieces, most)


def whole_devices(series: Sequence[tuple[str, str]], metrics: Callable[[str], Collection[str]]) -> list[str]:
    """Return the devices all of whose metrics are among these series (device, metric).

    >>> whole_devices([("a", "x"), ("b", "x")], lambda device: {"a": "x", "b": "xy"}[device])
    ['a']
    """
    named: dict[str, set[str]] = {}
    for device, metric in series:
        named.setdefault(device, set()).add(metric)
    return [device for device, found in named.items() if found >= set(metrics(device))]


def by_scope(series: Sequence[tuple[str, str]], whole: Collection[str]) -> Iterator[Tags]:
    """Yield what deletes series (device, metric), of whole devices at once.

    >>> list(by_scope([("a", "x"), ("a", "y"), ("b", "x")], ["a"]))
    [{'device': 'a'}, {'device': 'b', 'metric': 'x'}]
    """
    yield from ({"device": device} for device in whole)
    yield from ({"device": device, "metric": metric} for device, metric in series if device not in whole)


def old(before: Mapping[Series, int | None], fresh: Collection[Series]) -> Iterator[Old]:
    """Yield what deletes what is older than `before` (ms; None: nothing) of the `fresh` series, in few deletions.

    `before` is of all series: those that are kept alike go at once, all of them or all of a metric.

    >>> a, b, c = Series("a", "x", 0), Series("b", "x", 1), Series("b", "y", 2)
    >>> list(old({a: 5, b: 5, c: 5}, {a, b, c}))
    [Old(before=5, tags={})]
    >>> list(old({a: 5, b: 5, c: None}, {a}))
    [Old(before=5, tags={'metric': 'x'})]
    >>> list(old({a: 5, b: 6, c: 6}, {a, c}))
    [Old(before=5, tags={'device': 'a', 'metric': 'x'}), Old(before=6, tags={'metric': 'y'})]
    """
    if not fresh:
        return
    if (common := _common(before.values())) is not None:
        yield Old(common, {})
        return
    for metric, group in groupby(sorted(before, key=lambda one: one.metric), lambda one: one.metric):
        own = list(group)
        going = [one for one in own if one in fresh]
        if going and (common := _common(before[one] for one in own)) is not None:
            yield Old(common, {"metric": metric})
            continue
        for one in going:
            if (t := before[one]) is not None:
                yield Old(t, {"device": one.device, "metric": one.metric})


def _common(found: Iterable[int | None]) -> int | None:
    """Return what all of them are; None when they differ."""
    different = set(found)
    return different.pop() if len(different) == 1 else None
