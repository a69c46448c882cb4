"""Which fault strikes whom, when and for how long: a plan that a seed repeats exactly."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import count
from typing import Final, NamedTuple


class Fault(StrEnum):
    """What can go wrong."""

    KILL_AGENT = "kill-agent"
    KILL_HUB = "kill-hub"
    KILL_BROKER = "kill-broker"
    KILL_IN_COMMIT = "kill-in-commit"
    FREEZE_AGENT = "freeze-agent"
    FREEZE_HUB = "freeze-hub"
    FREEZE_BROKER = "freeze-broker"
    CUT_LINK = "cut-link"
    SLOW_LINK = "slow-link"
    HALF_OPEN_LINK = "half-open-link"
    SHUFFLED_BATCHES = "shuffled-batches"
    REPLAYED_BATCHES = "replayed-batches"
    BROKER_AMNESIA = "broker-amnesia"
    HUB_DISK_FULL = "hub-disk-full"
    HUB_WRITES_FAIL = "hub-writes-fail"
    AGENT_DISK_FULL = "agent-disk-full"
    AGENT_WRITES_FAIL = "agent-writes-fail"
    CLOCK_JUMP = "clock-jump"
    POISON = "poison"
    KILL_STORE = "kill-store"
    FREEZE_STORE = "freeze-store"
    CUT_STORE = "cut-store"
    SLOW_STORE = "slow-store"
    STORE_WRITES_FAIL = "store-writes-fail"
    KILL_REGISTRY = "kill-registry"
    FREEZE_REGISTRY = "freeze-registry"
    CUT_REGISTRY = "cut-registry"
    SLOW_REGISTRY = "slow-registry"
    READ_ONLY_REGISTRY = "read-only-registry"
    HUB_DISK_SLOW = "hub-disk-slow"
    STORE_DISK_FULL = "store-disk-full"
    REGISTRY_DISK_FULL = "registry-disk-full"
    CUT_DEVICE = "cut-device"
    SLOW_DEVICE = "slow-device"


LASTS_S: Final[Mapping[Fault, tuple[float, float]]] = {
    Fault.KILL_AGENT: (0.0, 3.0),
    Fault.KILL_HUB: (0.0, 4.0),
    Fault.KILL_BROKER: (0.0, 1.0),
    Fault.KILL_IN_COMMIT: (0.0, 0.5),
    Fault.FREEZE_AGENT: (2.0, 8.0),
    Fault.FREEZE_HUB: (2.0, 12.0),
    Fault.FREEZE_BROKER: (2.0, 12.0),
    Fault.CUT_LINK: (1.0, 8.0),
    Fault.SLOW_LINK: (4.0, 12.0),
    Fault.HALF_OPEN_LINK: (3.0, 12.0),
    Fault.SHUFFLED_BATCHES: (4.0, 10.0),
    Fault.REPLAYED_BATCHES: (0.5, 2.0),
    Fault.BROKER_AMNESIA: (0.0, 1.0),
    Fault.HUB_DISK_FULL: (3.0, 10.0),
    Fault.HUB_WRITES_FAIL: (3.0, 8.0),
    Fault.AGENT_DISK_FULL: (3.0, 10.0),
    Fault.AGENT_WRITES_FAIL: (2.0, 8.0),
    Fault.CLOCK_JUMP: (3.0, 10.0),
    Fault.POISON: (4.0, 10.0),
    Fault.KILL_STORE: (0.0, 6.0),
    Fault.FREEZE_STORE: (2.0, 10.0),
    Fault.CUT_STORE: (1.0, 8.0),
    Fault.SLOW_STORE: (4.0, 12.0),
    Fault.STORE_WRITES_FAIL: (3.0, 8.0),
    Fault.KILL_REGISTRY: (0.0, 6.0),
    Fault.FREEZE_REGISTRY: (2.0, 10.0),
    Fault.CUT_REGISTRY: (1.0, 8.0),
    Fault.SLOW_REGISTRY: (4.0, 12.0),
    Fault.READ_ONLY_REGISTRY: (2.0, 8.0),
    Fault.HUB_DISK_SLOW: (4.0, 15.0),
    Fault.STORE_DISK_FULL: (3.0, 10.0),
    Fault.REGISTRY_DISK_FULL: (3.0, 10.0),
    Fault.CUT_DEVICE: (1.0, 6.0),
    Fault.SLOW_DEVICE: (3.0, 8.0),
}
"""From how long to how long each lasts."""
COSTS_S: Final[Mapping[Fault, float]] = {
    Fault.KILL_HUB: 4.0,
    Fault.KILL_IN_COMMIT: 12.0,
    Fault.KILL_BROKER: 1.0,
    Fault.BROKER_AMNESIA: 1.0,
    Fault.HUB_WRITES_FAIL: 1.0,
    Fault.STORE_DISK_FULL: 3.0,
}
"""What mending takes beside that: a start of the hub."""
GAP_S: Final = (0.5, 3.0)
TOGETHER: Final = 0.25
"""The share of strikes that come with a second one."""
ORDER: Final = ("broker", "hub", "store", "registry")
"""Of two strikes on the hub's side the first of these comes first: a hub that is killed takes its own broker along."""
MENDED: Final = ("store", "registry", "broker", "hub")
"""In this order they are mended: a hub does not come back while what it needs is away."""
ALONE: Final = frozenset({Fault.KILL_IN_COMMIT, Fault.HUB_DISK_SLOW})
"""Faults of the hub that spare its other parts: it starts several times meanwhile, or takes long to end."""
EVERYBODY: Final = "world"


class Strike(NamedTuple):
    """A fault for a victim: `gap_s` after the one before was mended, for `lasts_s`. `with_next`: the next comes too."""

    fault: Fault
    victim: str
    gap_s: float
    lasts_s: float
    with_next: bool = False


Victims = Mapping[Fault, Sequence[str]]
"""Whom each fault may strike; one that is missing, or has nobody, does not occur."""


def plan(seed: int, seconds: float, victims: Victims) -> list[Strike]:
    """Return strikes for about so many seconds. The same arguments give the same plan."""
    found: list[Strike] = []
    spent = 0.0
    for strike in _endless(random.Random(seed), {fault: list(some) for fault, some in victims.items() if some}):
        if spent >= seconds and not (found and found[-1].with_next):
            return found
        found.append(strike)
        spent += 0 if strike.with_next else strike.gap_s + strike.lasts_s + COSTS_S.get(strike.fault, 0.0)
    return found


def groups(strikes: Sequence[Strike]) -> Iterator[list[Strike]]:
    """Yield the strikes that happen together."""
    group: list[Strike] = []
    for strike in strikes:
        group.append(strike)
        if not strike.with_next:
            yield sorted(group, key=rank)
            group = []
    if group:
        yield sorted(group, key=rank)


def rank(strike: Strike, order: Sequence[str] = ORDER) -> int:
    """Return the place of a strike among those that happen together."""
    return order.index(strike.victim) if strike.victim in order else len(order)


def _endless(chance: random.Random, victims: dict[Fault, list[str]]) -> Iterator[Strike]:
    """Yield strikes for ever; every fault has had its turn before one comes again."""
    bag: list[Fault] = []
    for _ in count():
        if not bag:
            bag = sorted(victims)
            chance.shuffle(bag)
        first = _strike(chance, bag.pop(), victims)
        partner = next((fault for fault in reversed(bag) if _free(fault, victims[fault], first)), None)
        if chance.random() >= TOGETHER or partner is None:
            yield first
            continue
        bag.remove(partner)
        yield first._replace(with_next=True)
        yield _strike(chance, partner, {partner: _free(partner, victims[partner], first)})


def _strike(chance: random.Random, fault: Fault, victims: Mapping[Fault, Sequence[str]]) -> Strike:
    victim = chance.choice(victims[fault])
    return Strike(fault, victim, round(chance.uniform(*GAP_S), 2), round(chance.uniform(*LASTS_S[fault]), 2))


def _free(fault: Fault, victims: Sequence[str], first: Strike) -> list[str]:
    """Return those that another strike leaves alone."""
    spared = set(ORDER) if {fault, first.fault} & ALONE and first.victim in ORDER else {first.victim}
    return [victim for victim in victims if victim not in spared]
