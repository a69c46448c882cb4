"""What came before the hub knew its device, profile or metric is kept whole and released as it is, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.ingest.test_pipeline import AGENT, DEVICE, Hub, batch, message, pack, reading
from hub.quarantine.test_endpoints import RELEASE, served
from hub.registry.rig import PROFILE, START
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME
from lamplighter_protocols.profile import parse_profile
from lamplighter_protocols.topics import Channel

LEVEL = '[metrics.level]\nunit = "%"\ntitle = { en = "Level" }\n'
DIM = '[metrics.dim]\nunit = "%"\ntitle = { en = "Dim" }\n'
AS_THEY_ARE = {"device": DEVICE, "as_they_are": True}


def learn(hub: Hub, *metrics: str) -> None:
    """Let the hub know the profile with these metrics more, as after a restart with another file."""
    hub.rig.profiles["lamp"] = parse_profile(PROFILE + "".join(metrics))


def values(hub: Hub, metric: str) -> list[Any]:
    rows, _ = hub.hub.series.readings(DEVICE, [metric], BEGINNING, END_OF_TIME, limit=100)
    return [row.value for row in rows]


def books(hub: Hub) -> tuple[int, int]:
    (row,) = hub.hub.ledger.row(AGENT)
    return row.stored, row.quarantined


def columns(*, at: int = START, **values: Any) -> dict[str, Any]:
    return {"kind": "readings", "device": DEVICE, "t": at, "dt": [0], "m": {name: [v] for name, v in values.items()}}


def test_each_metric_comes_back_when_the_profile_has_it(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        flagged = columns(level=5.0, dim=6.0) | {"q": {"level": ["suspect"]}}
        hub.take(batch(1, columns(power=40.0, level=7.0), flagged))
        assert (values(hub, "power"), books(hub)) == ([40.0], (1, 1))
        shown = client.get("/api/v1/quarantine-unknown").json()
        assert [(one["reason"], one["field"], one["entries"]) for one in shown] == [
            ("unknown_metric", "m.dim", 1),
            ("unknown_metric", "m.level", 2),
        ]
        assert all("no such metric" in one["why"] for one in shown)
        assert client.post(RELEASE, json=AS_THEY_ARE).status_code == 409

        learn(hub, LEVEL)
        told = {one["field"]: one["why"] for one in client.get("/api/v1/quarantine-unknown").json()}
        assert told["m.level"] is None
        assert "no such metric" in told["m.dim"]
        done = client.post(RELEASE, json=AS_THEY_ARE).json()
        assert (done["released"], done["staying"]) == (2, 1)
        assert values(hub, "level") == [7.0, 5.0]
        assert hub.hub.series.latest([DEVICE])[DEVICE]["level"].quality == "suspect"
        assert books(hub) == (2, 0), "of the second record something is stored now"

        learn(hub, LEVEL, DIM)
        assert client.post(RELEASE, json=AS_THEY_ARE).json()["released"] == 1
        assert (values(hub, "dim"), books(hub)) == ([6.0], (2, 0))
        assert client.post(RELEASE, json=AS_THEY_ARE).status_code == 409


def test_a_value_of_another_type_waits_for_a_profile_that_has_it_so(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        hub.take(batch(1, columns(power="much")))
        assert [entry.reason for entry in hub.quarantine()] == ["bad_value"]
        assert "not a number" in client.post(RELEASE, json=AS_THEY_ARE).json()["detail"]

        hub.rig.profiles["lamp"] = parse_profile(PROFILE.replace('unit = "W"', 'type = "string"'))
        assert client.post(RELEASE, json=AS_THEY_ARE).json()["released"] == 1
        assert values(hub, "power") == ["much"]


def test_readings_and_events_of_a_device_that_became_known_are_released_whole(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        hub.rig.birth(AGENT, [DEVICE], profile="new-lamp")
        many = {"kind": "readings", "device": DEVICE, "t": START, "dt": list(range(9_000))}
        event = {"kind": "event", "device": DEVICE, "t": START, "name": "door", "data": {"by": None}}
        hub.take(batch(1, many | {"m": {"power": [0.5] * 9_000, "level": [1.0] * 9_000}}, event))
        assert {entry.reason for entry in hub.quarantine()} == {"unknown_profile"}
        assert books(hub) == (0, 2)
        assert client.get("/api/v1/quarantine-clocks").json() == [], "their times are right"

        hub.rig.profiles["new-lamp"] = parse_profile(PROFILE.replace('"lamp"', '"new-lamp"'))
        assert client.post(RELEASE, json=AS_THEY_ARE).json()["released"] == 2
        assert (hub.hub.series.counts().points, books(hub)) == (9_000, (2, 0))
        (found,), _ = hub.hub.series.events(DEVICE, None, BEGINNING, END_OF_TIME, limit=9)
        assert (found.name, found.data) == ("door", {"by": None})
        left = [entry for entry in hub.quarantine() if entry.release is None]
        assert [(entry.reason, entry.field) for entry in left] == [("unknown_metric", "m.level")]


def test_times_that_cannot_be_do_not_come_in_with_a_profile(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        unset = columns(level=1.0) | {"clock": "unsynced"}
        hub.rig.birth(AGENT, [DEVICE], profile="new-lamp")
        hub.take(batch(1, reading(1, 5_000), unset))
        hub.rig.birth(AGENT, [DEVICE])
        learn(hub, LEVEL)

        refused = client.post(RELEASE, json=AS_THEY_ARE | {"dry_run": True}).json()
        assert (refused["released"], refused["staying"]) == (0, 2)
        assert any("before 2020" in kept["why"] for kept in refused["kept"])
        named = {"ids": [entry.id for entry in hub.quarantine()], "shift_ms": -1_000}
        assert client.post(RELEASE, json=named).json()["released"] == 1
        assert hub.hub.series.latest([DEVICE])[DEVICE]["level"].t == START - 1_000


def test_packs_of_a_foreign_device_come_back_in_the_unit_of_the_profile(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        body = [
            {"n": "power", "u": "W", "v": 12.5, "t": START / 1000},
            {"n": "level", "u": "/", "v": 0.5, "t": START / 1000},
            {"n": "level", "u": "/", "v": 0.25, "t": START / 1000 - 60},
        ]
        for _ in range(2):  # at QoS 1 it may come again
            hub.take(message(Channel.SENML, body, device=DEVICE, qos=1))
        assert hub.powers() == [12.5]

        learn(hub, LEVEL)
        assert client.post(RELEASE, json=AS_THEY_ARE).json()["released"] == 2
        assert (values(hub, "level"), hub.powers()) == ([25.0, 50.0], [12.5])


def test_packs_of_a_device_that_became_known_come_back(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        hub.rig.birth(AGENT, [DEVICE], profile="new-lamp")
        hub.take(pack(12.5), pack(13.5, at=START - 60_000))
        hub.rig.birth(AGENT, [DEVICE])
        assert client.post(RELEASE, json=AS_THEY_ARE).json()["released"] == 2
        assert hub.powers() == [13.5, 12.5]
