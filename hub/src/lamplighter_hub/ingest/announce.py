"""What is committed is told to whoever listens: newest values by device, and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamplighter_hub.ingest.group import Group
from lamplighter_hub.services import Live


def announcer(live: Live) -> Callable[[Group], None]:
    """Return a function that announces a committed group."""

    def announce(group: Group) -> None:
        for device, metrics in _newest(group).items():
            live.publish(f"readings:{device}", {"device": device, "metrics": metrics})
        for event in group.events:
            said = {"device": event.device, "t": event.t, "name": event.name, "data": event.data}
            live.publish("event", said)

    return announce


def _newest(group: Group) -> dict[str, dict[str, Any]]:
    """Return the newest value of each metric in the group: {device: {metric: {t, value, quality}}}."""
    found: dict[str, dict[str, Any]] = {}
    for sample in group.samples:
        at = max(range(len(sample.times)), key=sample.times.__getitem__)
        quality = sample.qualities[at] if sample.qualities else None
        said = {"t": sample.times[at], "value": sample.values[at], "quality": quality or "good"}
        known = found.setdefault(sample.device, {}).setdefault(sample.metric, said)
        if known["t"] < said["t"]:
            found[sample.device][sample.metric] = said
    return found
