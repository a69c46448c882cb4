"""The data endpoints over real HTTP, on real stores."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.registry.rig import START, Rig, calling, rig
from lamplighter_hub.access.roles import Role
from lamplighter_hub.series.store import Commit, StoredEvent
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality
from suites.series.make import column, mark, refused

V1 = "/api/v1"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("data")) as made:
        made.street("lamp-1", "lamp-2", "lamp-3")
        hour = [(START - 3_600_000 + i * 1000, 100 + i / 3) for i in range(3600)]
        made.hub.series.commit(
            Commit(
                [
                    column("lamp-1", "power", [point for i, point in enumerate(hour) if not 1000 <= i < 2000]),
                    column("lamp-1", "state", [(START - 5, "on"), (START - 4, "off, for now")]),
                    column("lamp-2", "power", [(START - 3, 0.1), (START - 3, 0.1), (START - 2, True)]),
                    Samples("lamp-2", "power", [START - 1], [None], [Quality.SENSOR_FAULT]),
                ],
                [StoredEvent("lamp-1", START - 9 + i, name, {"n": i}) for i, name in enumerate(["on", "off", "on"])],
                [mark(1, 5), mark(8, 9, stored=0, dropped=2)],
                [refused(1, b'{"a": "<b>\x1b[31m"}'), refused(2, b"\xff\xfe"), refused(3, zlib.compress(b'{"b": 2}'))],
            )
        )
        made.crash()
        yield made


@pytest.fixture(scope="module")
def api(street: Rig) -> Iterator[httpx.Client]:
    with calling(street.hub, street.token(Role.VIEWER)) as client:
        yield client


def get(api: httpx.Client, path: str, **parameters: Any) -> Any:
    answer = api.get(V1 + path, params={key.rstrip("_"): value for key, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows_of(api: httpx.Client, path: str, **parameters: Any) -> list[dict[str, str]]:
    answer = api.get(V1 + path, params={key.rstrip("_"): value for key, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_latest_values_carry_unit_and_quality(api: httpx.Client) -> None:
    assert get(api, "/devices/lamp-2/latest")["items"] == [
        {"metric": "power", "value": None, "unit": "W", "quality": "sensor_fault", "t": START - 1}
    ]
    items = get(api, "/devices/lamp-1/latest")["items"]
    assert [(item["metric"], item["value"]) for item in items] == [("power", 100 + 3599 / 3), ("state", "off, for now")]
    assert get(api, "/devices/lamp-3/latest") == {"device": "lamp-3", "items": []}


def test_a_chart_is_reduced_honestly_and_a_gap_stays_a_gap(api: httpx.Client) -> None:
    chart = get(api, "/devices/lamp-1/series", metric="power", from_="-1h", points=60)
    assert (chart["reduced"], chart["width_ms"], chart["unit"], chart["readings"]) == (True, 60_000, "W", 2600)
    buckets = chart["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == 2600
    assert len(buckets) < 60
    steps = {after["t"] - before["t"] for before, after in pairwise(buckets)}
    assert min(steps) == 60_000
    assert max(steps) > 900_000
    assert all(bucket["min"] <= bucket["mean"] <= bucket["max"] for bucket in buckets)


def test_few_readings_are_shown_as_they_are(api: httpx.Client) -> None:
    chart = get(api, "/devices/lamp-2/series", metric="power", from_="-1h", points=60)
    assert (chart["reduced"], chart["width_ms"]) == (False, 0)
    assert [(bucket["t"], bucket["count"], bucket["last"], bucket["quality"]) for bucket in chart["buckets"]] == [
        (START - 3, 1, 0.1, 0),
        (START - 3, 1, 0.1, 0),
        (START - 2, 1, True, 0),
        (START - 1, 0, None, 1),
    ]
    texts = get(api, "/devices/lamp-1/series", metric="state")
    assert [(bucket["last"], bucket["mean"]) for bucket in texts["buckets"]] == [("on", None), ("off, for now", None)]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("-10s", ""),
        ("-10s", "now"),
        (str(START - 10_000), str(START)),
        ("2026-11-23T23:31:02Z", "2026-11-23T23:31:12Z"),
        ("2026-11-23T23:31:02", "2026-11-24T07:31:12+08:00"),
        ("2026-11-24T07:31:02 08:00", "2026-11-25"),
    ],
)
def test_times_may_be_written_in_many_ways(api: httpx.Client, start: str, end: str) -> None:
    found = get(api, "/devices/lamp-1/readings", metric="power", from_=start, to=end)["items"]
    assert [item["t"] for item in found] == [START - i * 1000 for i in range(10, 0, -1)]


@pytest.mark.parametrize(
    ("path", "parameters", "field"),
    [
        ("/devices/lamp-1/series", {"metric": "power", "from": "yesterday"}, "from"),
        ("/devices/lamp-1/series", {"metric": "power", "to": "99999-01-01"}, "to"),
        ("/devices/lamp-1/series", {"metric": "power", "to": "9" * 15}, "to"),
        ("/devices/lamp-1/series", {"metric": "power", "from": "now", "to": "-1h"}, "from"),
        ("/devices/lamp-1/series", {"metric": "power", "points": "0"}, "points"),
        ("/devices/lamp-1/series", {"metric": "humidity"}, "metric"),
        ("/devices/lamp-1/series", {}, "metric"),
        ("/devices/lamp-1/readings", {"limit": "1001"}, "limit"),
        ("/devices/lamp-1/readings", {"cursor": "abc"}, "cursor"),
        ("/events", {"cursor": "1~2~3"}, "cursor"),
        ("/quarantine", {"cursor": "x"}, "cursor"),
        ("/ledger", {"cursor": "x"}, "cursor"),
        ("/export.csv", {"from": "-1y"}, "from"),
        ("/stream", {"topics": "weather"}, "topics"),
        ("/devices/Lamp 1/latest", {}, "device"),
    ],
)
def test_a_refused_parameter_is_named(api: httpx.Client, path: str, parameters: dict[str, str], field: str) -> None:
    answer = api.get(V1 + path, params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/devices/lamp-9/latest", {}),
        ("/devices/lamp-9/series", {"metric": "power"}),
        ("/devices/lamp-9/readings", {}),
        ("/events", {"device": "lamp-9"}),
        ("/export.csv", {"device": "lamp-9"}),
        ("/quarantine/nothing", {}),
    ],
)
def test_what_is_not_known_is_said(api: httpx.Client, path: str, parameters: dict[str, str]) -> None:
    answer = api.get(V1 + path, params=parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_nothing_is_told_to_strangers(api: httpx.Client, street: Rig) -> None:
    schema = api.get(f"{V1}/openapi.json").json()
    mine = [path for path in schema["paths"] if any(word in path for word in ("latest", "series", "export", "stream"))]
    assert len(mine) == 6
    for path in (*mine, f"{V1}/events", f"{V1}/quarantine", f"{V1}/ledger"):
        answer = httpx.get(f"{api.base_url}{path.replace('{device}', 'lamp-1')}")
        assert answer.status_code == 401, path


def test_readings_come_in_pages(api: httpx.Client) -> None:
    whole: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = get(api, "/devices/lamp-1/readings", metric="power", limit=999, cursor=cursor)
        whole += page["items"]
        cursor = page["next"]
    assert [item["t"] for item in whole] == sorted(item["t"] for item in whole)
    assert len({item["t"] for item in whole}) == len(whole) == 2600


def test_an_export_holds_everything_exactly(api: httpx.Client) -> None:
    rows = rows_of(api, "/export.csv")
    assert list(rows[0]) == ["device", "metric", "time", "t", "value", "quality", "type"]
    assert len(rows) == 2600 + 2 + 4
    power = [row for row in rows if row["device"] == "lamp-1" and row["metric"] == "power"]
    assert {int(row["t"]): float(row["value"]) for row in power} == {
        START - 3_600_000 + i * 1000: 100 + i / 3 for i in range(3600) if not 1000 <= i < 2000
    }
    assert [tuple(row.values())[2:] for row in rows if row["device"] == "lamp-2"] == [
        ("2026-11-23T23:31:11.997Z", str(START - 3), "0.1", "good", "number"),
        ("2026-11-23T23:31:11.997Z", str(START - 3), "0.1", "good", "number"),
        ("2026-11-23T23:31:11.998Z", str(START - 2), "true", "good", "truth"),
        ("2026-11-23T23:31:11.999Z", str(START - 1), "", "sensor_fault", ""),
    ]
    chosen = rows_of(api, "/export.csv", device=["lamp-2", "lamp-1"], metric=["state", ""], from_="-1m")
    assert [row["value"] for row in chosen] == ["on", "off, for now"]
    assert rows_of(api, "/export.csv", device="lamp-3") == []


def test_events_are_listed_and_exported(api: httpx.Client) -> None:
    newest = get(api, "/events", limit=2)
    assert [item["data"]["n"] for item in newest["items"]] == [2, 1]
    rest = get(api, "/events", limit=2, cursor=newest["next"])
    assert ([item["data"]["n"] for item in rest["items"]], rest["next"]) == ([0], None)
    assert [item["t"] for item in get(api, "/events", name="on", oldest_first="true")["items"]] == [
        START - 9,
        START - 7,
    ]
    rows = rows_of(api, "/export-events.csv", device="lamp-1", name="on")
    assert [(row["device"], int(row["t"]), row["name"], json.loads(row["data"])) for row in rows] == [
        ("lamp-1", START - 9, "on", {"n": 0}),
        ("lamp-1", START - 7, "on", {"n": 2}),
    ]


def test_quarantine_shows_foreign_bytes_as_harmless_text(api: httpx.Client) -> None:
    page = get(api, "/quarantine", reason="bad_field", agent="pole-1")
    assert [item["payload_bytes"] for item in page["items"]] == [len(zlib.compress(b'{"b": 2}')), 2, 17]
    assert "payload" not in page["items"][0]
    details = [get(api, f"/quarantine/{item['id']}") for item in page["items"]]
    assert [(item["encoding"], item["payload"]) for item in details] == [
        ("text", '{"b": 2}'),
        ("hex", "ff fe"),
        ("text", '{"a": "<b>\\x1b[31m"}'),
    ]


def test_the_ledger_says_what_is_missing(api: httpx.Client) -> None:
    (row,) = get(api, "/ledger")["items"]
    assert (row["through"], row["stored"], row["dropped"], row["missing"], row["missing_records"]) == (
        5,
        5,
        2,
        [[6, 7]],
        2,
    )
    assert get(api, "/ledger/pole-1")["items"] == [row]
    unknown = api.get(f"{V1}/ledger/pole-9")
    assert (unknown.status_code, unknown.json()["type"].rpartition(":")[2]) == (404, "agent_unknown")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(
        ["/devices/lamp-1/series", "/devices/lamp-1/readings", "/events", "/export.csv", "/quarantine", "/ledger"]
    ),
    parameters=st.dictionaries(
        st.sampled_from(["from", "to", "metric", "device", "cursor", "limit", "points", "name", "agent"]),
        st.one_of(st.text(max_size=20), st.integers().map(str), st.sampled_from(["-1h", "power", "1~2", "lamp-1"])),
        max_size=4,
    ),
)
def test_no_query_breaks_the_hub(api: httpx.Client, path: str, parameters: dict[str, str]) -> None:
    try:
        answer = api.get(V1 + path, params=parameters)
    except UnicodeEncodeError:
        return
    assert answer.status_code in {200, 404, 422}, answer.text


def test_a_stream_tells_what_happens_and_goes_on_after_a_break(api: httpx.Client, street: Rig) -> None:
    live = street.hub.live

    def messages(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        current: dict[str, Any] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            if line:
                current[name] = value
            elif current.get("event"):
                found.append(current)
                current = {}
                if len(found) == count:
                    break
            else:
                current = {}
        return found

    where = f"{V1}/stream?topics=presence,readings:lamp-1"
    with api.stream("GET", where) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert [item["event"] for item in messages(lines, 1)] == ["ready"]
        live.publish("event", {"not": "asked for"})
        live.publish("readings:lamp-2", {"not": "asked for"})
        live.publish("readings:lamp-1", {"metrics": {"power": {"value": 1.5}}})
        live.publish("presence", {"agent": "灯"})
        found = messages(lines, 2)
    assert [item["event"] for item in found] == ["readings:lamp-1", "presence"]
    assert json.loads(found[1]["data"]) == {"agent": "灯"}
    live.publish("presence", {"agent": "b"})
    with api.stream("GET", where, headers={"Last-Event-ID": found[0]["id"]}) as answer:
        again = messages(answer.iter_lines(), 3)
    assert [item["event"] for item in again] == ["presence", "presence", "ready"]
    assert json.loads(again[1]["data"]) == {"agent": "b"}
    with api.stream("GET", where, headers={"Last-Event-ID": "elsewhere-7"}) as answer:
        assert [item["event"] for item in messages(answer.iter_lines(), 1)] == ["dropped"]
