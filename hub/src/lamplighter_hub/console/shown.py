"""What pages show of the hub's records: plain values with titles in the visitor's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lamplighter_hub.console.i18n import Language
from lamplighter_hub.devices.service import Known
from lamplighter_hub.series.store import StoredEvent
from lamplighter_hub.services import Services
from lamplighter_protocols.presence import LinkUse
from lamplighter_protocols.profile import Metric, Profile
from lamplighter_protocols.readings import Reading


@dataclass(frozen=True)
class ShownDevice:
    """A device in a list or in the head of its page.

    `link_is_untold`: its agent counts what its link carries, and has not said it since the hub started.
    """

    id: str
    agent: str
    profile: str
    title: str
    state: str
    reason: str
    since: int | None
    last_heard: int | None
    link: LinkUse | None
    link_is_untold: bool


@dataclass(frozen=True)
class ShownEvent:
    """An event with its title and severity from the profile."""

    device: str
    t: int
    name: str
    title: str
    severity: str
    data: dict[str, Any]


@dataclass(frozen=True)
class ShownReading:
    """The newest value of a metric."""

    name: str
    title: str
    unit: str
    decimals: int
    value: Any
    quality: str
    t: int


def shown_device(hub: Services, language: Language, known: Known) -> ShownDevice:
    """Return a device as it is now."""
    profile = hub.profiles.get(known.profile)
    title = language.pick(profile.title, known.profile) if profile else known.profile
    now = hub.devices.state(known)
    agent = hub.presence.standing(known.agent)
    untold = agent.link is None and agent.agent_version != ""
    return ShownDevice(known.id, known.agent, known.profile, title, *now, agent.link, untold)


def shown_events(
    profiles: Mapping[str, Profile | None], language: Language, events: Iterable[StoredEvent]
) -> list[ShownEvent]:
    """Return events with titles; `profiles` by device id."""
    found = []
    for event in events:
        profile = profiles.get(event.device)
        spec = profile.events.get(event.name) if profile else None
        title = language.pick(spec.title, event.name) if spec else event.name
        severity = spec.severity if spec else "info"
        found.append(ShownEvent(event.device, event.t, event.name, title, severity, event.data))
    return found


def shown_readings(profile: Profile | None, language: Language, latest: Mapping[str, Reading]) -> list[ShownReading]:
    """Return newest values: in the profile's order, then metrics that the profile does not know."""
    metrics = profile.metrics if profile else {}
    names = [name for name in metrics if name in latest] + sorted(latest.keys() - metrics.keys())
    return [_shown_reading(name, metrics.get(name), language, latest[name]) for name in names]


def _shown_reading(name: str, metric: Metric | None, language: Language, reading: Reading) -> ShownReading:
    title = language.pick(metric.title, name) if metric else name
    unit, decimals = (metric.unit, metric.decimals) if metric else ("", 2)
    return ShownReading(name, title, unit, decimals, reading.value, reading.quality.value, reading.t)
