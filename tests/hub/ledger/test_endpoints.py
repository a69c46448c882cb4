"""Completeness, totals and holes over real HTTP, on real stores; and what Prometheus reads of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.registry.rig import START, Rig, birth, calling, rig
from lamplighter_hub.access.roles import Role
from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.store import Commit
from lamplighter_protocols.configuration import ConfigurationState
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.profile import Retention
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality
from lamplighter_protocols.records import ReportedRecord, Stream
from suites.series.make import column, mark

HOUR = 3_600_000
OUTBOX = "01M80T5JNV0000000000000000"
BEGIN = START - START % HOUR - 3 * HOUR
"""Three whole hours and a part; the profile's interval is 60 s."""

OLD = START // (24 * HOUR) * 24 * HOUR - 10 * 24 * HOUR
LATER = BEGIN + 2 * HOUR + HOUR // 2
OFTEN_S = 15.0


def with_newcomers(*names: str) -> Birth:
    """Word a birth with devices more, which their agent reads each 15 s."""
    said = birth(["lamp-1", "lamp-2", *names], session=2)
    often = dict.fromkeys(names, OFTEN_S)
    return said.model_copy(
        update={"devices": [one.model_copy(update={"interval_s": often.get(one.id)}) for one in said.devices]}
    )


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("data")) as made:
        made.clock.now = BEGIN
        made.street("lamp-1", "lamp-2")
        made.clock.now = LATER
        made.hub.devices.born([("agent-1", with_newcomers("lamp-3", "lamp-4"), LATER)])
        made.clock.now = START
        whole = [(BEGIN + minute * 60_000, 40.0) for minute in range(60)]
        half = [(BEGIN + HOUR + minute * 60_000, 40.0) for minute in range(30)]
        flagged = [BEGIN + HOUR + minute * 60_000 for minute in range(30, 36)]
        made.hub.series.commit(
            Commit(
                [
                    column("lamp-1", "power", [*whole, *half]),
                    Samples("lamp-1", "power", flagged, [None] * 6, [Quality.SENSOR_FAULT] * 6),
                    column("lamp-1", "power", [(BEGIN + 2 * HOUR + step, 1.0) for step in range(90)]),
                    column("lamp-3", "power", [(LATER + second * 1000, 40.0) for second in range(0, 1800, 15)]),
                    column("lamp-4", "power", [(BEGIN + HOUR + minute * 60_000, 40.0) for minute in range(30)]),
                ],
                marks=[mark(1, 5), mark(8, 9), mark(12, 15, stored=0, dropped=4)],
            )
        )
        made.crash()
        yield made


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A lamp that reported each minute of two days, of which hours are left and no single readings."""
    with rig(tmp_path_factory.mktemp("aged")) as made:
        made.clock.now = OLD
        made.street("lamp-1")
        made.clock.now = START
        made.hub.series.commit(
            Commit([column("lamp-1", "power", [(OLD + n * 60_000, 1.0) for n in range(2 * 24 * 60)])])
        )
        ages = dict.fromkeys(Retention, Ages(raw=1, minute=1))
        made.hub.series.expire(Policy(ages, lambda *_: Retention.STANDARD, lambda *_: Retention.STANDARD), START)
        yield made


@pytest.fixture(scope="module")
def api(street: Rig) -> Iterator[httpx.Client]:
    with calling(street.hub, street.token(Role.VIEWER)) as client:
        yield client


def get(api: httpx.Client, path: str, **parameters: Any) -> Any:
    answer = api.get(f"/api/v1{path}", params={key.rstrip("_"): value for key, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def power(found: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = next(metric for metric in found["metrics"] if metric["metric"] == "power")
    return item


def test_each_hour_says_what_was_expected_and_what_is_stored(api: httpx.Client) -> None:
    found = get(api, "/devices/lamp-1/completeness", from_=BEGIN, to=BEGIN + 3 * HOUR)
    assert (found["interval_s"], found["interval_of"]) == (60, "profile")
    metric = power(found)
    assert metric["hours"] == [
        {"t": BEGIN, "expected": 60, "stored": 60, "flagged": 0, "percent": 100.0},
        {"t": BEGIN + HOUR, "expected": 60, "stored": 36, "flagged": 6, "percent": 60.0},
        {"t": BEGIN + 2 * HOUR, "expected": 60, "stored": 90, "flagged": 0, "percent": 100.0},
    ]
    assert (metric["expected"], metric["stored"], metric["flagged"]) == (180, 186, 6)
    assert metric["percent"] == 86.66, "too many in one hour do not make up for another, and it is never rounded up"
    others = [item for item in found["metrics"] if item["metric"] != "power"]
    assert all(item["percent"] == 0 for item in others), "what never came is not left out"


def test_parts_of_hours_and_the_time_to_come_count_as_much_as_they_are(street: Rig, api: httpx.Client) -> None:
    found = get(api, "/devices/lamp-1/completeness", from_=BEGIN + HOUR // 2, to=START + 10 * HOUR)
    assert found["to"] == street.clock()
    expected = [hour["expected"] for hour in power(found)["hours"]]
    assert expected[:3] == [30, 60, 60]
    assert expected[3] == round((street.clock() - BEGIN - 3 * HOUR) / 60_000)


def test_parts_of_hours_whose_single_readings_are_gone_are_shown_whole(aged: Rig) -> None:
    start, end = OLD + 5 * HOUR + HOUR // 3, OLD + 9 * HOUR + HOUR // 4
    with calling(aged.hub, aged.token(Role.VIEWER)) as client:
        found = get(client, "/devices/lamp-1/completeness", from_=start, to=end, interval_s=60)
        assert (found["from"], found["to"]) == (OLD + 5 * HOUR, OLD + 10 * HOUR)
        assert [(hour["expected"], hour["stored"]) for hour in power(found)["hours"]] == 5 * [(60, 60)]
        assert power(found)["percent"] == 100.0
        series = get(client, "/devices/lamp-1/series", metric="power", from_=start, to=start + 60_000)
        assert (series["readings"], series["readings_cut"]) == (60, 60)


def test_nothing_is_expected_from_before_the_hub_knew_a_device(api: httpx.Client) -> None:
    found = get(api, "/devices/lamp-3/completeness", from_=BEGIN, to=BEGIN + 3 * HOUR)
    assert found["expected_from"] == LATER
    assert [hour["expected"] for hour in power(found)["hours"]] == [0, 0, 120]
    assert (power(found)["percent"], found["percent"]) == (100.0, round(100 / len(found["metrics"]), 2))
    before = get(api, "/devices/lamp-3/completeness", from_=BEGIN, to=LATER)
    assert (before["expected_from"], before["expected"], before["percent"]) == (None, 0, None)


def test_readings_of_before_show_that_there_should_be_some(api: httpx.Client) -> None:
    found = get(api, "/devices/lamp-4/completeness", from_=BEGIN, to=BEGIN + 3 * HOUR, interval_s=60)
    assert found["expected_from"] == BEGIN + HOUR
    assert [hour["expected"] for hour in power(found)["hours"]] == [0, 60, 60]
    assert power(found)["percent"] == 25.0


def test_an_interval_of_agent_toml_is_the_one_that_counts(street: Rig, api: httpx.Client) -> None:
    found = get(api, "/devices/lamp-3/completeness", from_=LATER, to=BEGIN + 3 * HOUR)
    assert (found["interval_s"], found["interval_of"]) == (OFTEN_S, "agent")
    street.hub.devices.load()  # as after a restart
    assert get(api, "/devices/lamp-3/completeness", from_=LATER, to=BEGIN + 3 * HOUR) == found


def test_the_interval_may_be_asked_for_or_configured(street: Rig, api: httpx.Client) -> None:
    asked = get(api, "/devices/lamp-1/completeness", from_=BEGIN, to=BEGIN + HOUR, interval_s=30)
    assert (asked["interval_s"], asked["interval_of"]) == (30, "asked")
    assert (power(asked)["expected"], power(asked)["percent"]) == (120, 50.0)
    document = {"interval_s": 120}
    view = street.hub.configuration.put("lamp-2", document, "test")
    report = ReportedRecord(
        device="lamp-2",
        version=view.desired.version,
        hash=view.desired.hash,
        state=ConfigurationState.APPLIED,
        t=START,
        document=document,
    )
    street.hub.configuration.reported([("agent-1", report, START)])
    found = get(api, "/devices/lamp-2/completeness", from_=BEGIN, to=BEGIN + HOUR)
    assert (found["interval_s"], found["interval_of"], power(found)["expected"]) == (120, "configuration", 30)
    assert found["percent"] == 0


@pytest.mark.parametrize(
    "parameters",
    [
        {"from": START - 40 * 24 * HOUR, "to": START},
        {"from": START + HOUR, "to": START + 2 * HOUR},
        {"from": 5, "to": 4},
        {"interval_s": 0},
        {"interval_s": "nan"},
        {"interval_s": 1e-300},
    ],
)
def test_what_cannot_be_answered_is_said_by_name(api: httpx.Client, parameters: dict[str, Any]) -> None:
    answer = api.get("/api/v1/devices/lamp-1/completeness", params=parameters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] in {"from", "interval_s"}


def test_a_stranger_has_no_completeness(api: httpx.Client) -> None:
    assert api.get("/api/v1/devices/lamp-9/completeness").status_code == 404


def test_the_ledger_shows_holes_with_their_age(street: Rig, api: httpx.Client) -> None:
    (row,) = get(api, "/ledger/pole-1")["items"]
    assert row["missing"] == [[6, 7], [10, 11]]
    assert [[hole["first"], hole["last"]] for hole in row["holes"]] == row["missing"]
    assert (row["stored"], row["dropped"], row["lost"], row["through"]) == (7, 4, [[12, 15]], 5)


def test_a_stream_says_whether_it_adds_up_once_its_agent_said_what_it_holds(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(rig(tmp_path))
        made.hub.series.commit(Commit(marks=[mark(1, 10)._replace(outbox=OUTBOX)]))
        made.crash()
        api = stack.enter_context(calling(made.hub, made.token(Role.VIEWER)))
        (row,) = get(api, "/ledger/pole-1")["items"]
        assert (row["sent"], row["held"], row["unaccounted"]) == (10, None, None)
        assert (row["adds_up"], row["told_at"]) == (None, None), "nobody knows what the agent holds"
        assert get(api, "/ledger-totals")["untold"] == 1
        for held, adds_up in ((5, True), (4, False)):
            draft = made.hub.ledger.draft(START)
            beat = Presence(
                state="online",
                session=1,
                outbox=OUTBOX,
                freed={Stream.LIVE: 10},
                held={Stream.LIVE: held},
                last={Stream.LIVE: 15},
            )
            draft.heed_inventory("pole-1", beat)
            made.hub.ledger.take(draft)
            (row,) = get(api, "/ledger/pole-1")["items"]
            assert (row["sent"], row["held"], row["adds_up"], row["told_at"]) == (15, held, adds_up, START)
            assert row["sent"] == row["stored"] + row["quarantined"] + row["dropped"] + row["held"] + row["unaccounted"]
        assert get(api, "/ledger-totals")["untold"] == 0


def test_totals_and_metrics_say_the_same(api: httpx.Client) -> None:
    totals = get(api, "/ledger-totals")
    assert (totals["stored"], totals["dropped"], totals["missing"], totals["holes"]) == (7, 4, 4, 2)
    assert totals["violations"] == 0
    assert totals["samples_lost_per_million"] == round(1e6 * 8 / 15, 3)
    text = api.get("/metrics").text
    for line in (
        'lamplighter_ledger_records{fate="stored"} 7.0',
        'lamplighter_ledger_records{fate="dropped"} 4.0',
        'lamplighter_ledger_records{fate="missing"} 4.0',
        "lamplighter_ledger_received_total 7.0",
        "lamplighter_ledger_violations_total 0.0",
        "lamplighter_ledger_holes 2.0",
        "lamplighter_throttle_active 0.0",
    ):
        assert line in text
