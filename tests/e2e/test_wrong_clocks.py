"""Devices whose clock began with 1970: set aside, released by an operator, there once and at the right times."""

from __future__ import annotations

import json
import time
from typing import Any

from e2e.test_foreign import publish
from lamplighter_protocols.topics import Channel, build
from services.hub import Hub
from services.wait import eventually

AGENT, DEVICE = "foreign-1", "foreign-clock"
OUTBOX = "01M80T5JNV0000000000000001"


def now() -> int:
    return round(time.time() * 1000)


def batch(first: int, t: int, *values: float) -> str:
    records = [
        {"kind": "readings", "device": DEVICE, "t": t + 1000 * number, "dt": [0], "m": {"temp": [value]}}
        for number, value in enumerate(values)
    ]
    return json.dumps({"outbox": OUTBOX, "stream": "live", "first": first, "sent": t, "records": records})


def ledger(hub: Hub) -> dict[str, Any]:
    (row,) = [row for row in hub.get(f"ledger/{AGENT}")["items"] if row["outbox"] == OUTBOX]
    assert row["received"] == row["stored"] + row["duplicate"] + row["quarantined"]
    assert row["missing_records"] == 0
    return {name: row[name] for name in ("stored", "quarantined")}


def readings(hub: Hub) -> list[tuple[int, float]]:
    return [(one["t"], one["value"]) for one in hub.get(f"devices/{DEVICE}/readings", metric="temp")["items"]]


def test_a_device_on_1970_is_released_once_with_right_times(fresh_hub: Hub) -> None:
    hub = fresh_hub
    password = hub.post("agents", {"agents": [{"id": AGENT}]})["items"][0]["password"]
    birth = {
        "session": 1,
        "boot": OUTBOX,
        "heard_within_s": 3600,
        "sent": 5_000,
        "devices": [{"id": DEVICE, "profile": "air-station"}],
    }
    publish(hub, password, build(AGENT, Channel.BIRTH), json.dumps(birth), qos=1)
    eventually(lambda: hub.device(DEVICE).get("state") == "online", within_s=20)

    began = now() - 600_000
    early = batch(1, 90_000, 20.5, 20.75, 21.0)
    publish(hub, password, build(AGENT, Channel.BATCH), early, qos=0)
    eventually(lambda: len(hub.get("quarantine", device=DEVICE)["items"]) == 3, within_s=20)
    publish(hub, password, build(AGENT, Channel.BATCH), batch(4, began + 93_000, 21.25), qos=0)
    eventually(lambda: readings(hub) == [(began + 93_000, 21.25)], within_s=20)
    assert ledger(hub) == {"stored": 1, "quarantined": 3}

    of_device = ("quarantine", "release", "--device", DEVICE, "--shift", f"{began}ms")
    assert "3 would be released" in hub.cli(*of_device, "--dry-run")
    assert "3 released" in hub.cli(*of_device)
    hub.running.kill()
    hub.start()

    right = [(began + 90_000 + 1000 * number, 20.5 + number / 4) for number in range(4)]
    assert readings(hub) == right
    assert ledger(hub) == {"stored": 4, "quarantined": 0}
    publish(hub, password, build(AGENT, Channel.BATCH), early, qos=0)
    eventually(lambda: hub.get(f"ledger/{AGENT}")["items"][0]["duplicate"] == 3, within_s=20)
    assert readings(hub) == right
    assert ledger(hub) == {"stored": 4, "quarantined": 0}
    held = hub.get(f"devices/{DEVICE}/completeness", **{"from": began, "to": began + 100_000, "interval_s": 25})
    temperature = next(metric for metric in held["metrics"] if metric["metric"] == "temp")
    # They are of before the hub knew the device: of that hour readings are expected only if it was another one.
    assert temperature["stored"] == 4
    assert temperature["percent"] in (None, 100.0)
