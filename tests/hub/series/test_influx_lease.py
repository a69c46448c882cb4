"""One hub for a bucket: who is refused, who takes over, and who finds out that it was replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lamplighter_hub.series.influx import lease
from lamplighter_hub.series.influx.lease import Owner, owner_in
from lamplighter_hub.series.influx.store import InfluxSeries, open_influx
from lamplighter_hub.series.store import Commit, SeriesError, StoreUnavailable
from services.influx import Influxd
from services.wait import eventually
from suites.series.make import T0, column, everything

HERE = Owner("01M80T5JNV0000000000000000", "town-hall, /srv/lamplighter")
THERE = Owner("01M80T5JNV0000000000000001", "depot, /srv/lamplighter")
HUB = """
import sys
from lamplighter_hub.series.influx.lease import Owner
from lamplighter_hub.series.influx.store import open_influx
store = open_influx(sys.argv[1], sys.argv[2], Owner(sys.argv[3], sys.argv[4]))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def bucket(influx_server: Influxd, request: pytest.FixtureRequest) -> Iterator[str]:
    name = influx_server.make_bucket(f"lease {request.node.name}")
    yield name
    influx_server.drop_bucket(name)


def opened(server: Influxd, bucket: str, owner: Owner) -> InfluxSeries:
    return open_influx(server.series_url(bucket), server.token, owner)


def one(number: int) -> Commit:
    return Commit([column("air-1", "pm25", [(T0 + number, float(number))])])


def killed(server: Influxd, bucket: str, owner: Owner) -> None:
    """Let a hub open the bucket in a process of its own, and kill -9 it."""
    argv = [sys.executable, "-c", HUB, server.series_url(bucket), server.token, *owner]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        os.kill(child.pid, signal.SIGKILL)


def test_another_hub_is_refused_and_told_who_is_there(influx_server: Influxd, bucket: str) -> None:
    with closing(opened(influx_server, bucket, HERE)) as store:
        with pytest.raises(StoreUnavailable, match="used by another hub") as refused:
            opened(influx_server, bucket, THERE)
        assert HERE.place in str(refused.value)
        assert "\n" not in str(refused.value)
        store.commit(one(1))
        assert len(everything(store, "air-1")) == 1


def test_a_hub_that_was_killed_starts_again_at_once_and_keeps_others_away(influx_server: Influxd, bucket: str) -> None:
    killed(influx_server, bucket, HERE)
    with pytest.raises(StoreUnavailable, match="used by another hub"):
        opened(influx_server, bucket, THERE)
    with closing(opened(influx_server, bucket, HERE)) as store:
        store.commit(one(1))


def test_a_hub_that_was_killed_is_forgotten_in_time(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(influx_server, bucket, HERE)
    monkeypatch.setattr(lease, "LASTS_S", 1)
    found: list[InfluxSeries] = []

    def takes_over() -> bool:
        try:
            found.append(opened(influx_server, bucket, THERE))
        except StoreUnavailable:
            return False
        return True

    eventually(takes_over, within_s=20)
    with closing(found[0]) as store:
        store.commit(one(1))


def test_a_hub_that_closed_leaves_the_bucket_at_once(influx_server: Influxd, bucket: str) -> None:
    opened(influx_server, bucket, HERE).close()
    with closing(opened(influx_server, bucket, THERE)) as store:
        store.commit(one(1))


def test_a_hub_that_slept_through_a_take_over_writes_no_more(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(influx_server, bucket, HERE)) as asleep:
        asleep.commit(one(1))
        monkeypatch.setattr(lease, "LASTS_S", 0)
        with closing(opened(influx_server, bucket, THERE)) as store:
            store.commit(one(2))
            monkeypatch.setattr(lease, "TRUSTED_S", 0.0)
            for _ in range(2):
                with pytest.raises(SeriesError, match="used by another hub now") as refused:
                    asleep.commit(one(3))
            assert THERE.place in str(refused.value)
            store.commit(one(4))
            assert [item.value for item in everything(store, "air-1")] == [1.0, 2.0, 4.0]


def test_two_of_the_same_hub_end_with_the_newer_one(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    with closing(opened(influx_server, bucket, HERE)) as older, closing(opened(influx_server, bucket, HERE)) as newer:
        eventually(lambda: "stop one of the two" in caplog.text, within_s=20)
        newer.commit(one(1))
        with pytest.raises(SeriesError, match="stop one of the two"):
            older.commit(one(2))


def test_the_records_of_owners_do_not_pile_up(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RENEW_S", 0.01), ("_TIDY_EVERY", 5), ("_KEPT_NS", 0)):
        monkeypatch.setattr(lease, name, value)
    with closing(opened(influx_server, bucket, HERE)) as store:
        eventually(lambda: store._lease._renewals > 50, within_s=30)
        (tables,) = store._influx.query("SELECT count(turn) FROM owners")
        assert tables[0].rows[0][1] < 20


def test_a_data_folder_is_one_hub_for_ever(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert owner_in(tmp_path / "a") == owner_in(tmp_path / "a")
    assert owner_in(tmp_path / "a").hub != owner_in(tmp_path / "b").hub
    assert str(tmp_path / "a") in owner_in(tmp_path / "a").place
