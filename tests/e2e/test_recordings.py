"""Real recordings, through log file, tail driver, agent, broker and hub: nothing twice, nothing missing."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from services.agent import Agent
from services.hub import Hub
from services.need import recording
from services.process import Children
from services.wait import eventually

WATER = ("pressure", "rh", "temp_board", "temp_rtc", "battery", "range", "pitch", "roll")


def tailing(tmp_path: Path, children: Children, hub: Hub, device: str, profile: str, log: Path) -> Agent:
    name = f"logger-{device}"
    agent = Agent(name, tmp_path / name, children)
    agent.configure(
        f"""
data = "state"
heard_within_s = 10
[[devices]]
id = "{device}"
profile = "{profile}"
driver = "tail"
interval_s = 0.5
[devices.settings]
path = "{log}"
"""
    )
    return agent.enroll(hub).start()


def exported(hub: Hub, path: str, **parameters: str) -> list[dict[str, str]]:
    text: str = hub.get(path, **parameters)
    return list(csv.DictReader(io.StringIO(text)))


def water_rows(path: Path) -> Counter[tuple[int, str, float | None]]:
    """Read the recording with nothing of ours: (epoch ms, metric, value); the logger writes NAN for a failed sensor."""
    found: Counter[tuple[int, str, float | None]] = Counter()
    for line in path.read_text().splitlines()[2:]:
        time, *values = line.rstrip(",").split(",")
        t = int(datetime.strptime(time, "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC).timestamp() * 1000)
        cells = zip(WATER, values, strict=True)
        found.update((t, metric, None if "NAN" in value else float(value)) for metric, value in cells)
    return found


def test_a_stream_gauges_log_arrives_exactly(hub: Hub, tmp_path: Path, children: Children) -> None:
    log = recording("water/trout_creek_Log00017.txt")
    expected = water_rows(log)
    assert expected.total() == 15_780 * 8
    copy = tmp_path / "Log00017.txt"
    copy.write_bytes(log.read_bytes())

    tailing(tmp_path, children, hub, "trout-creek", "trout-creek-logger", copy)
    eventually(lambda: hub.get("status")["parts"]["series"]["points"] >= expected.total(), within_s=60)

    rows = exported(hub, "export.csv", device="trout-creek")
    assert Counter((int(row["t"]), row["metric"], number(row["value"])) for row in rows) == expected
    assert {row["quality"] for row in rows if not row["value"]} == {"sensor_fault"}
    ledger = hub.get("ledger/logger-trout-creek")["items"]
    assert sum(row["missing_records"] for row in ledger) == 0


def test_a_signal_controllers_events_arrive_exactly(hub: Hub, tmp_path: Path, children: Children) -> None:
    log = recording("signal/odot_hires_1136.csv")
    zone = ZoneInfo("America/Los_Angeles")
    with log.open() as file:
        expected = Counter(
            (
                int(datetime.fromisoformat(row["TimeStamp"]).replace(tzinfo=zone).timestamp() * 1000),
                int(row["EventId"]),
                int(row["Parameter"]),
            )
            for row in csv.DictReader(file)
        )
    assert expected.total() == 37_152
    assert sum(count - 1 for count in expected.values()) == 4, "the four true duplicates"
    copy = tmp_path / "hires.csv"
    copy.write_bytes(log.read_bytes())

    tailing(tmp_path, children, hub, "signal-1136", "signal-hires-log", copy)
    eventually(lambda: hub.get("status")["parts"]["series"]["events"] >= expected.total(), within_s=60)

    rows = [row for row in exported(hub, "export-events.csv", device="signal-1136") if row["name"] == "hires"]
    found = Counter((int(row["t"]), *event_fields(row["data"])) for row in rows)
    assert found == expected


def number(text: str) -> float | None:
    return float(text) if text else None


def event_fields(data: str) -> tuple[int, int]:
    fields = json.loads(data)
    return fields["code"], fields["parameter"]
