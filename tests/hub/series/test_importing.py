"""Exports and imports over real HTTP: what went out comes back exactly, once, into any store."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import httpx
import pytest

from hub.registry.rig import START, Rig, calling, rig
from lamplighter_hub.access.roles import Role
from lamplighter_hub.cli.client import Address, Failed, Hub
from lamplighter_hub.cli.importing import Done, Row, pieces, send
from lamplighter_hub.series.importing import Importer, missing
from lamplighter_hub.series.parquet import GROUP, parquet_rows, readings_parquet
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, SeriesError
from lamplighter_protocols.readings import Quality, Reading, Value
from suites.series.make import flat

V1 = "/api/v1"
ODD: list[Value | None] = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1.0, True, False, "", "true", "1.0", None]
TEXTS: list[Value | None] = [
    "a,b",
    'say "no"',
    "two\nlines",
    "\r",
    "\r\n",
    " \t",
    "路灯",
    "\x00",
    "\N{BOM}x",
    "'",
    "=1+1",
]
VALUES = ODD + TEXTS


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def asked(query: str, file: Path) -> list[tuple[object, ...]]:
    with closing(duckdb.connect()) as db:
        return db.execute(query, [str(file)]).fetchall()


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Rig]:
    with rig(folder(tmp_path / "hub")) as made:
        made.street("lamp-1", "lamp-2")
        yield made


@pytest.fixture
def api(street: Rig) -> Iterator[httpx.Client]:
    with calling(street.hub, street.token(Role.ADMINISTRATOR)) as client:
        yield client


@pytest.fixture
def hub(street: Rig, api: httpx.Client) -> Iterator[Hub]:
    with closing(Hub(Address(str(api.base_url), street.token(Role.ADMINISTRATOR)))) as made:
        yield made


def readings(device: str = "lamp-1", metric: str = "power") -> list[Reading]:
    """Every value, with equal times, true duplicates, and every quality."""
    qualities = list(Quality)
    made = [
        Reading(device, metric, START - 9_000_000 + place // 3, value, qualities[1 + place % (len(qualities) - 1)])
        for place, value in enumerate(VALUES * 3)
    ]
    good = [Reading(device, metric, START - 5, value) for value in (2.0, 2.0, 1.0, 2.0)]
    return [*made, *good]


def held(street: Rig) -> list[str]:
    return [repr(tuple(one)) for one in flat(street.hub.series.export_readings([], [], BEGINNING, END_OF_TIME))]


def given(expected: list[Reading]) -> list[str]:
    return [repr(tuple(one)) for one in expected]


def store(street: Rig, *made: list[Reading]) -> None:
    for group in made:
        Importer().take(street.hub.series, group)


def save(api: httpx.Client, form: str, path: Path) -> Path:
    answer = api.get(f"{V1}/export.{form}")
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def nothing(rows: int, place: int) -> None:
    """Take no notice of progress."""


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_was_exported_comes_back_exactly_and_only_once(
    street: Rig, api: httpx.Client, hub: Hub, form: str, tmp_path: Path
) -> None:
    expected = [*readings("lamp-1"), *readings("lamp-2", "a.metric")]
    store(street, expected)
    assert held(street) == given(expected)
    file = save(api, form, tmp_path / f"out.{form}")
    assert send(hub, file, nothing) == Done(len(expected), 0, len(expected))
    with rig(folder(tmp_path / "other")) as other:
        other.street("lamp-1", "lamp-2")
        token = other.token(Role.ADMINISTRATOR)
        with calling(other.hub, token) as there, closing(Hub(Address(str(there.base_url), token))) as target:
            assert send(target, file, nothing) == Done(len(expected), len(expected), 0)
            assert held(other) == held(street)
            assert send(target, file, nothing) == Done(len(expected), 0, len(expected))
            assert held(other) == held(street)


def test_only_what_lacks_is_stored(street: Rig) -> None:
    expected = readings()
    store(street, expected[::2])
    lacking = missing(street.hub.series, expected)
    assert len(lacking) == len(expected) - len(expected[::2])
    store(street, expected, expected)
    assert sorted(held(street)) == sorted(given(expected))


def test_a_large_export_is_one_parquet_file_that_duckdb_reads(tmp_path: Path) -> None:
    dice = random.Random(7)
    made = [Reading(f"d-{place // 50_000}", "m", place, dice.random()) for place in range(2 * GROUP + 12_345)]
    file = tmp_path / "large.parquet"
    file.write_bytes(b"".join(readings_parquet(made[place : place + 5_000] for place in range(0, len(made), 5_000))))
    assert asked("SELECT count(DISTINCT row_group_id) FROM parquet_metadata($1)", file) == [(3,)]
    found = asked("SELECT device, count(*), min(t), max(t) FROM read_parquet($1) GROUP BY 1 ORDER BY 1", file)
    assert found[1] == ("d-1", 50_000, 50_000, 99_999)
    one = asked("SELECT t, number FROM read_parquet($1) WHERE device = 'd-4' AND t = 200001", file)
    assert one == [(200_001, made[200_001].value)]
    assert [row[3] for row in parquet_rows(file)] == [one.value for one in made]


def test_an_empty_export_is_a_file_too(api: httpx.Client, tmp_path: Path) -> None:
    assert list(parquet_rows(save(api, "parquet", tmp_path / "none.parquet"))) == []
    assert list(csv.reader(io.StringIO(save(api, "csv", tmp_path / "none.csv").read_text())))[1:] == []


HEADER = "device,metric,time,t,value,quality,type\n"


@pytest.mark.parametrize(
    ("row", "place", "says"),
    [
        ("lamp-9,power,,5,1,good,number", "row 12, device", "not known"),
        ("lamp-1,Power,,5,1,good,number", "row 12, metric", "a-z"),
        ("lamp-1,power,,soon,1,good,number", "row 12, t", "milliseconds"),
        ("lamp-1,power,yesterday,,1,good,number", "row 12, time", "ISO 8601"),
        ("lamp-1,power,,5,1.5.2,good,number", "row 12, value", "1.5"),
        ("lamp-1,power,,5,1e999,good,number", "row 12, value", "no number"),
        ("lamp-1,power,,5,yes,good,truth", "row 12, value", "true or false"),
        ("lamp-1,power,,5,1,fine,number", "row 12, quality", "sensor_fault"),
        ("lamp-1,power,,5,1,good,figure", "row 12, type", "number, truth, text"),
        ("lamp-1,power,,5,,good,", "row 12, value", "no_data"),
        ("lamp-1,power,,5", "row 12, row", "header"),
        ("lamp-1,power,,999999999999999999,1,good,number", "row 12, t", "9999"),
        ("lamp-1,power,,4000000000000,1,good,number", "row 12, t", "future"),
        ("lamp-1,power,2096-01-01T00:00:00Z,,1,good,number", "row 12, time", "future"),
    ],
)
def test_a_bad_row_is_named_and_its_piece_is_not_stored(
    street: Rig, api: httpx.Client, row: str, place: str, says: str
) -> None:
    body = HEADER + "lamp-1,power,,4,1,good,number\n" + row + "\n"
    answer = api.post(f"{V1}/import.csv", params={"first_row": 11}, content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [place]
    assert says in answer.json()["errors"][0]["detail"]
    assert held(street) == []


@pytest.mark.parametrize(
    "body", [b"", b"device,metric\n", b"\xff", b'device,metric,t,value\n"a', b"device,metric,value\n"]
)
def test_what_is_no_export_is_refused(api: httpx.Client, body: bytes) -> None:
    answer = api.post(f"{V1}/import.csv", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("text", ["", '{"a": 1}', "device;metric;value;time\n"])
def test_a_file_without_the_header_of_a_table_is_refused(hub: Hub, tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.csv"
    file.write_text(text)
    with pytest.raises(Failed, match="header lacks device, metric, value"):
        send(hub, file, nothing)


def test_a_table_of_other_making_will_do(street: Rig, api: httpx.Client) -> None:
    body = "metric,device,value,time\npower,lamp-1,5,2026-07-24T08:00:00+08:00\npower,lamp-1,on,2026-07-24T00:00:01Z\n"
    answer = api.post(f"{V1}/import.csv", content=body, headers={"Content-Type": "text/csv"})
    assert answer.json() == {"stored": 2, "already_there": 0}
    midnight = 1_784_851_200_000
    assert held(street) == given(
        [Reading("lamp-1", "power", midnight, 5.0), Reading("lamp-1", "power", midnight + 1000, "on")]
    )


def test_only_an_administrator_imports(street: Rig) -> None:
    with calling(street.hub, street.token(Role.OPERATOR)) as client:
        answer = client.post(f"{V1}/import.csv", content=HEADER, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 403


def test_a_file_that_breaks_off_says_what_is_stored(street: Rig, hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    rows = [f"lamp-1,power,,{t},{t},good,number\n" for t in range(25_000)]
    rows[21_000] = "lamp-1,power,,,7,good,number\n"
    file.write_text(HEADER + "".join(rows))
    with pytest.raises(Failed) as said:
        send(hub, file, nothing)
    assert f"{file}, line 21002, column time" in said.value.what
    stored = len(held(street))
    assert f"{stored:,} rows" in said.value.then
    assert 10_000 < stored <= 21_000
    rows[21_000] = "lamp-1,power,,21000,21000,good,number\n"
    file.write_text(HEADER + "".join(rows))
    assert send(hub, file, nothing) == Done(25_000, 25_000 - stored, stored)


@pytest.mark.parametrize(("name", "content"), [("a.parquet", b"PAR1"), ("a.csv", b"\xff"), ("missing.csv", None)])
def test_a_file_that_is_none_is_one_line(hub: Hub, tmp_path: Path, name: str, content: bytes | None) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Failed) as said:
        send(hub, file, nothing)
    assert str(file) in said.value.what
    assert len(said.value.what.splitlines()) == 1


def test_a_name_in_a_parquet_file_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.parquet"
    whole = b"".join(readings_parquet([[Reading("lamp-1", "power", 1, 1.0, Quality.GOOD)]]))
    file.write_bytes(whole.replace(b"number", b"num\xefer"))
    with pytest.raises(SeriesError, match="not UTF-8"):
        list(parquet_rows(file))


def test_rows_of_one_series_and_time_stay_together() -> None:
    rows = [Row(f"line {place}", place, ["a", "m", str(place // 7_000)]) for place in range(30_000)]
    cut = list(pieces(["device", "metric", "t"], iter(rows)))
    assert [len(piece) for piece in cut] == [14_000, 14_000, 2_000]
    assert flat(cut) == rows
