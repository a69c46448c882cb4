"""`lamplighter up --demo`, as somebody sees it who has just installed it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.brokers import BrokerKind, brokered_hub
from services.hub import Hub
from services.leftovers import processes_of
from services.process import Children
from services.wait import eventually

LIVE_WITHIN_S = 60
STREET = {"air-1", "noise-1", "flood-1", "creek-1", "kiosk-1", "signal-1"}
AGENTS = {"station-road", "mill-creek", "town-hall", "junction-12"}
PROGRAMS = ("lamplighter-sim", "lamplighter-agent")


@pytest.fixture
def demo(broker_kind: BrokerKind, tmp_path: Path, children: Children) -> Iterator[Hub]:
    """A demo on a fresh data folder."""
    with brokered_hub(broker_kind, tmp_path, children, "--demo") as started:
        yield started


@pytest.mark.timeout(240)
def test_the_street_lives_survives_a_restart_and_leaves_nothing(demo: Hub, broker_kind: BrokerKind) -> None:
    begun = time.monotonic()
    all_online(demo, within_s=LIVE_WITHIN_S)
    before = eventually(lambda: everything_reported(demo), within_s=LIVE_WITHIN_S)
    assert time.monotonic() - begun < LIVE_WITHIN_S
    eventually(lambda: set(changed(before, latest(demo))) == STREET, within_s=LIVE_WITHIN_S)

    sent = demo.post("devices/kiosk-1/commands", {"name": "print_test_page", "args": {"copies": 1}})
    assert demo.get(f"commands/{sent['id']}", wait_s=30)["state"] == "succeeded"
    assert AGENTS.issubset(demo.cli("ledger").split())
    here = processes_of(demo.data)
    assert all(any(program in line for line in here.values()) for program in PROGRAMS)
    assert any("nats-server" in line for line in here.values()) is (broker_kind is BrokerKind.NATS)

    oldest = eventually(lambda: first_readings(demo), within_s=LIVE_WITHIN_S)
    enrolled = identities(demo)
    assert demo.running.stop() == 0
    assert processes_of(demo.data) == {}

    demo.start()
    all_online(demo, within_s=LIVE_WITHIN_S)
    assert identities(demo) == enrolled
    assert first_readings(demo) == oldest
    again = latest(demo)
    eventually(lambda: set(changed(again, latest(demo))) == STREET, within_s=LIVE_WITHIN_S)
    assert "0 missing" in demo.cli("ledger")

    demo.running.kill()
    eventually(lambda: processes_of(demo.data) == {}, within_s=10)
    assert "Traceback" not in demo.running.said()


def all_online(hub: Hub, within_s: float) -> None:
    def online() -> set[str]:
        return {item["id"] for item in hub.get("devices", state="online")["items"]}

    eventually(lambda: online() == STREET, within_s=within_s)


Latest = dict[str, dict[str, tuple[int, Any]]]


def latest(hub: Hub) -> Latest:
    """Return (time, value) of each metric of each device."""
    return {
        device: {item["metric"]: (item["t"], item["value"]) for item in hub.get(f"devices/{device}/latest")["items"]}
        for device in STREET
    }


def everything_reported(hub: Hub) -> Latest:
    """Return the latest values, once each device has reported all its primary metrics; nothing before."""
    found = latest(hub)
    return found if all(primary(hub, device) <= found[device].keys() for device in STREET) else {}


def primary(hub: Hub, device: str) -> set[str]:
    profile = hub.get(f"profiles/{hub.device(device)['profile']}")
    names = {name for name, metric in profile["metrics"].items() if metric["primary"]}
    assert names
    return names


def changed(before: Latest, now: Latest) -> list[str]:
    """Return the devices that have a newer reading with another value."""

    def moved(device: str) -> bool:
        pairs = [(before[device][metric], now[device].get(metric)) for metric in before[device]]
        return any(new and new[0] > old[0] and new[1] != old[1] for old, new in pairs)

    return [device for device in before if moved(device)]


def first_readings(hub: Hub) -> dict[str, list[dict[str, Any]]] | None:
    """Return each device's three oldest readings of one metric, which must stay; None until all have so many."""

    def oldest(device: str) -> list[dict[str, Any]]:
        metric = min(primary(hub, device))
        found: list[dict[str, Any]] = hub.get(f"devices/{device}/readings", metric=metric, limit=3, **{"from": 0})[
            "items"
        ]
        return found

    found = {device: oldest(device) for device in STREET}
    return found if all(len(readings) == 3 for readings in found.values()) else None


def identities(hub: Hub) -> dict[str, tuple[int, str]]:
    """Return when each agent was enrolled and which outbox it has."""
    return {item["id"]: (item["enrolled_at"], item["outbox"]) for item in hub.get("agents")["items"]}
