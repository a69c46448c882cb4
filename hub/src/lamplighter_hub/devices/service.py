"""Which devices exist, whose they are and how they are: in memory for a whole city, from births in the registry.

A device belongs to the agent that named it first, until that agent is revoked. A device that its agent no longer names
stays known with its data; it is only not carried any more.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from lamplighter_hub.devices import repository
from lamplighter_hub.enrolment.refusals import Refusals
from lamplighter_hub.enrolment.service import EnrolmentService
from lamplighter_hub.errors import NotFound
from lamplighter_hub.presence.service import PresenceService
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Live
from lamplighter_protocols.presence import Birth, BornDevice
from lamplighter_protocols.profile import Profile

NOT_CARRIED: Final = "not_carried"
MAX_OF_AGENT: Final = 5_000
"""Devices that an agent may ever have named; a birth has at most 1,000 at once."""


@dataclass(slots=True, frozen=True)
class Known:
    """A device: whose it is, its profile, since when it is known (ms), and whether its agent still names it.

    `interval_s` is how often its agent reads it, where that is not as its profile has it.
    """

    id: str
    agent: str
    profile: str
    first_seen: int
    carried: bool = True
    interval_s: float | None = None


class DeviceState(NamedTuple):
    """How a device is: its agent's presence while it is carried. Times in ms."""

    state: str
    reason: str
    since: int | None
    last_heard: int | None


class Taken(NamedTuple):
    """A birth that was taken up: what it says of the devices that are really this agent's."""

    agent: str
    devices: list[BornDevice]


@dataclass(slots=True)
class Filter:
    """Which devices a list shall have; empty means all. `q` is a part of the id."""

    profile: str = ""
    agent: str = ""
    q: str = ""


@dataclass(slots=True)
class _Changes:
    """What a group of births changes, before it is stored."""

    new: dict[str, Known] = field(default_factory=dict)
    changed: dict[str, Known] = field(default_factory=dict)

    added: Counter[str] = field(default_factory=Counter)

    def add(self, known: Known) -> None:
        self.new[known.id] = known
        self.added[known.agent] += 1

    def get(self, device: str) -> Known | None:
        return self.new.get(device) or self.changed.get(device)

    def put(self, known: Known) -> None:
        (self.new if known.id in self.new else self.changed)[known.id] = known


class DeviceService:
    """Births come from one thread; everybody may ask."""

    def __init__(
        self,
        registry: Database,
        profiles: Mapping[str, Profile],
        enrolment: EnrolmentService,
        presence: PresenceService,
        refusals: Refusals,
        live: Live,
    ) -> None:
        self._registry = registry
        self._profiles = profiles
        self._enrolment = enrolment
        self._presence = presence
        self._refusals = refusals
        self._live = live
        self._lock = threading.Lock()
        self._devices: dict[str, Known] = {}
        self._carried: dict[str, set[str]] = {}
        self._owned: Counter[str] = Counter()
        self._order: list[str] | None = None
        self._listeners: list[Callable[[Sequence[Taken]], None]] = []

    def load(self) -> None:
        """Read all devices."""
        with self._registry.read() as session:
            devices = [Known(*columns) for columns in repository.everything(session)]
        self._take_up(devices)

    def listen(self, listener: Callable[[Sequence[Taken]], None]) -> None:
        """Call a function after each group of births that was taken up."""
        self._listeners.append(listener)

    # For ingest

    def owner_profile(self, agent: str, device: str) -> Profile | str:
        """Return the profile of an agent's own device, or why its records cannot be taken. From memory."""
        known = self._devices.get(device)
        if known is None:
            return "unknown_device"
        if known.agent != agent:
            return "foreign_device"
        return self._profiles.get(known.profile) or "unknown_profile"

    def owns(self, agent: str, device: str) -> bool:
        """True when the device is known as this agent's."""
        known = self._devices.get(device)
        return known is not None and known.agent == agent

    def born(self, births: Sequence[tuple[str, Birth, int]]) -> None:
        """Take a group of births (agent, birth, arrival in ms) in one transaction; durable when it returns."""
        for agent in {agent for agent, _, _ in births if not self._enrolment.knows(agent)}:
            self._refusals.record(agent, "not_enrolled", "a birth of an agent that is not enrolled")
        latest = self._presence.born(births)
        newest: dict[str, tuple[Birth, int]] = {}
        for agent, birth, arrived_ms in births:
            if agent in latest and (agent not in newest or birth.session >= newest[agent][0].session):
                newest[agent] = birth, arrived_ms
        changes = _Changes()
        taken = [self._take(changes, agent, birth, arrived) for agent, (birth, arrived) in newest.items()]
        with self._registry.write() as session:
            repository.add(session, [_row(known) for known in changes.new.values()])
            repository.change(session, [_row(known) for known in changes.changed.values()])
            self._presence.save(session)
        self._take_up([*changes.new.values(), *changes.changed.values()])
        for agent in {known.agent for known in (*changes.new.values(), *changes.changed.values())}:
            self._live.publish("presence", {"agent": agent, "devices": self.carried_by(agent)})
        for listener in self._listeners:
            listener(taken)

    # For people and other slices

    def find(self, device: str) -> Known:
        """Return a device. Raises NotFound."""
        known = self._devices.get(device)
        if known is None:
            raise NotFound(
                f"device {device!r} is not known; GET /api/v1/devices lists the known ones", code="device_unknown"
            )
        return known

    def profile(self, device: str) -> Profile:
        """Return a device's profile. Raises NotFound for the device, or for a profile that the hub does not have."""
        name = self.find(device).profile
        if name not in self._profiles:
            raise NotFound(f"profile {name!r} is not known to this hub; add its TOML file", code="profile_unknown")
        return self._profiles[name]

    def state(self, known: Known) -> DeviceState:
        """Return how a device is."""
        standing = self._presence.standing(known.agent)
        if not known.carried:
            return DeviceState("unknown", NOT_CARRIED, None, standing.last_heard)
        return DeviceState(standing.state, standing.reason, standing.since, standing.last_heard)

    def carried_by(self, agent: str) -> int:
        """Return how many devices an agent carries."""
        return len(self._carried.get(agent, ()))

    def count(self) -> int:
        """Return how many devices are known."""
        return len(self._devices)

    def counts(self) -> dict[str, int]:
        """Return how many devices are online, offline and unknown (those that are not carried included)."""
        counts = {"online": 0, "offline": 0, "unknown": 0}
        with self._lock:
            sizes = [(agent, len(devices)) for agent, devices in self._carried.items()]
            total = len(self._devices)
        for agent, size in sizes:
            counts[self._presence.state(agent)] += size
        counts["unknown"] += total - sum(counts.values())
        return counts

    def page(self, chosen: Filter, state: str, after: str, limit: int) -> list[Known]:
        """Return up to `limit` devices by id, those after an id that pass the filter."""
        found: list[Known] = []
        for known in self._passing(chosen, after):
            if len(found) == limit:
                break
            if not state or self._state_name(known) == state:
                found.append(known)
        return found

    def counts_of(self, chosen: Filter) -> dict[str, int]:
        """Return how many devices pass a filter, by state."""
        counts = Counter(self._state_name(known) for known in self._passing(chosen, ""))
        return {state: counts[state] for state in ("online", "offline", "unknown")}

    def _state_name(self, known: Known) -> str:
        return self._presence.state(known.agent) if known.carried else "unknown"

    def _passing(self, chosen: Filter, after: str) -> Iterator[Known]:
        part = chosen.q.lower()
        for device in self._ids_after(after):
            known = self._devices[device]
            if (
                (not chosen.profile or known.profile == chosen.profile)
                and (not chosen.agent or known.agent == chosen.agent)
                and part in device
            ):
                yield known

    def _ids_after(self, after: str) -> list[str]:
        with self._lock:
            if self._order is None:
                self._order = sorted(self._devices)
            order = self._order
        return order[bisect_right(order, after) :] if after else order

    # Steps of a birth

    def _take(self, changes: _Changes, agent: str, birth: Birth, arrived_ms: int) -> Taken:
        mine = []
        for born in birth.devices:
            if not self._is_mine(changes, agent, born):
                continue
            mine.append(born)
            known = changes.get(born.id) or self._devices.get(born.id)
            since = known.first_seen if known else arrived_ms
            now = Known(born.id, agent, born.profile, since, interval_s=born.interval_s)
            if known is None:
                changes.add(now)
            elif known != now:
                changes.put(now)
        for device in self._carried.get(agent, set()) - {born.id for born in mine}:
            changes.put(replace(self._devices[device], carried=False))
        return Taken(agent, mine)

    def _is_mine(self, changes: _Changes, agent: str, born: BornDevice) -> bool:
        known = changes.get(born.id) or self._devices.get(born.id)
        if known is not None and known.agent != agent and self._enrolment.knows(known.agent):
            self._refusals.record(agent, "foreign_device", f"device {born.id} belongs to agent {known.agent}")
            return False
        if known is None and self._owned[agent] + changes.added[agent] >= MAX_OF_AGENT:
            self._refusals.record(agent, "too_many_devices", f"has named {MAX_OF_AGENT} devices; {born.id} is one more")
            return False
        return True

    def _take_up(self, devices: Sequence[Known]) -> None:
        with self._lock:
            for known in devices:
                before = self._devices.get(known.id)
                if before is None:
                    self._order = None
                else:
                    self._carried.get(before.agent, set()).discard(known.id)
                    self._owned[before.agent] -= 1
                self._owned[known.agent] += 1
                self._devices[known.id] = known
                if known.carried:
                    self._carried.setdefault(known.agent, set()).add(known.id)


def _row(known: Known) -> dict[str, Any]:
    return {
        "id": known.id,
        "agent": known.agent,
        "profile": known.profile,
        "first_seen": known.first_seen,
        "carried": known.carried,
        "interval_s": known.interval_s,
    }
