"""SenML: packs of foreign devices become readings, exactly; the contract vectors hold what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.senml import (
    SenmlRecord,
    decode_pack,
    encode_pack,
    from_readings,
    to_readings,
)
from lamplighter_protocols.field.units import REGISTERED, convert
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.readings import Reading

PROFILES = load_profiles()
NOW = 1_795_476_673_001
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,20}", fullmatch=True)
VALUES = st.floats(-1e200, 1e200) | st.booleans() | st.text(st.characters(exclude_categories=["Cs"])) | st.binary()


def readings(profile: str, pack: list[Any]) -> list[Reading]:
    return to_readings(PROFILES[profile], "d", json.dumps(pack).encode(), NOW)


@given(
    st.lists(
        st.builds(
            SenmlRecord,
            NAMES,
            st.integers(2**28 * 1_000, 2**42),
            VALUES,
            st.sampled_from(["", *sorted(REGISTERED)]),
            st.none() | st.floats(-1e200, 1e200),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_decode_undoes_encode(records: list[SenmlRecord]) -> None:
    assert decode_pack(encode_pack(records), NOW) == records


def test_a_pack_becomes_readings_in_the_metric_units() -> None:
    base = {"bn": "urn:dev:mac:0024befffe804ff1/", "bt": 1_795_476_600}
    found = readings(
        "air-station",
        [
            base | {"n": "pm25", "u": "kg/m3", "v": 3.5e-8},
            {"n": "wind_speed", "u": "km/h", "v": 36, "t": -0.25},
            {"n": "temp", "u": "K", "v": 294.65},
            {"n": "rh", "v": 48},
            {"n": "door", "vs": "open"},
            {"n": "heater", "vb": False},
        ],
    )
    t = 1_795_476_600_000
    assert found == [
        Reading("d", "pm25", t, 35.0),
        Reading("d", "wind_speed", t - 250, 10.0),
        Reading("d", "temp", t, 21.5),
        Reading("d", "rh", t, 48.0),
        Reading("d", "door", t, "open"),
        Reading("d", "heater", t, False),
    ]


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"n": "temp", "u": "Pa", "v": 1}, "0.temp"),
        ({"n": "temp", "vs": "warm"}, "0.temp"),
        ({"n": "door", "v": 1}, "0.door"),
        ({"n": "heater", "v": 1}, "0.heater"),
        ({"n": "door", "vs": "x" * 1_025}, "0.door"),
        ({"n": "Temp", "v": 1}, "0.n"),
        ({"n": "urn:dev:", "v": 1}, "0.n"),
        ({"n": "temp", "vd": "aGk"}, "0.temp"),
    ],
)
def test_what_is_no_reading_of_the_metric_is_refused(record: dict[str, Any], field: str) -> None:
    with pytest.raises(BadField) as caught:
        readings("air-station", [record])
    assert caught.value.field == field


def test_unknown_metrics_are_passed_on_once_to_be_refused_by_name() -> None:
    pack = [{"n": "rh", "v": 1}, {"n": "lux", "v": 1}, {"n": "lux", "vs": "two"}, {"n": "co2", "u": "ppm", "v": 400}]
    assert [reading.metric for reading in readings("air-station", pack)] == ["rh", "lux", "co2"]


def test_profile_units_count_beside_the_registered_ones() -> None:
    assert readings("nab-machine", [{"n": "temp", "u": "[degF]", "v": 73.9}])[0].value == 73.9
    with pytest.raises(BadField, match=r"0\.u: 'bananas' is not a registered unit"):
        readings("nab-machine", [{"n": "temp", "u": "bananas", "v": 73.9}])


def test_times_below_two_to_the_28th_count_from_now() -> None:
    times = [
        record.t for record in decode_pack(b'[{"n":"a","v":1},{"n":"a","t":-1.5,"v":1},{"n":"a","t":60,"v":1}]', NOW)
    ]
    assert times == [NOW, NOW - 1_500, NOW + 60_000]


def test_readings_go_out_and_come_back() -> None:
    profile = PROFILES["air-station"]
    sent = [Reading("d", "pm25", NOW, 35.0), Reading("d", "door", NOW, "open"), Reading("d", "rh", NOW, None)]
    payload = from_readings(sent, profile, "urn:dev:lamp:1/")
    assert json.loads(payload)[0] == {
        "bn": "urn:dev:lamp:1/", "n": "pm25", "u": "ug/m3", "t": NOW / 1_000, "v": 35.0,
    }  # fmt: skip
    assert to_readings(profile, "d", payload, 0) == sent[:2]


@given(st.floats(-1e6, 1e6), st.sampled_from(sorted(REGISTERED)), st.sampled_from(sorted(REGISTERED)))
def test_conversion_there_and_back(value: float, unit: str, other: str) -> None:
    there = convert(value, unit, other)
    if there is not None:
        back = convert(there, other, unit)
        assert back == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "result"),
    [
        (30, "dBm", "dBW", 0.0),
        (7.2, "mm/h", "m/s", 2e-06),
        (50, "/100", "/", 0.5),
        (50, "%", "/100", 50.0),
        (21.5, "Cel", "K", 294.65),
        (90, "km/h", "m/s", 25.0),
        (1, "kWh", "J", 3.6e6),
        (1, "m", "s", None),
        (1, "[degF]", "Cel", None),
    ],
)
def test_conversions(value: float, unit: str, wanted: str, result: float | None) -> None:
    assert convert(value, unit, wanted) == result
