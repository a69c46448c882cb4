"""What is committed is told to whoever listens: newest values by device, and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamplighter_hub.ingest.group import Group
from lamplighter_hub.live import Broadcast


def announcer(live: Broadcast) -> Callable[[Group], None]:
    """Return a function that announces a committed group."""

    def announce(group: Group) -> None:
        for device in {sample.device for sample in group.samples}:
            if live.wanted(topic := f"readings:{device}"):
                live.publish(topic, {"device": device, "metrics": _newest(group, device)})
        for event in group.events if live.wanted("event") else ():
            said = {"device": event.device, "t": event.t, "name": event.name, "data": event.data}
            live.publish("event", said)

    return announce


def each(*told: Callable[[Group], None]) -> Callable[[Group], None]:
    """Return a function that tells several of a committed group, one after the other."""

    def tell(group: Group) -> None:
        for one in told:
            one(group)

    return tell


def _newest(group: Group, device: str) -> dict[str, Any]:
    """Return a device's newest value of each metric in the group: {metric: {t, value, quality}}."""
    found: dict[str, Any] = {}
    for sample in group.samples:
        if sample.device != device:
            continue
        at = max(range(len(sample.times)), key=sample.times.__getitem__)
        if sample.metric not in found or found[sample.metric]["t"] <= sample.times[at]:
            quality = sample.qualities[at] if sample.qualities else None
            found[sample.metric] = {"t": sample.times[at], "value": sample.values[at], "quality": quality or "good"}
    return found
