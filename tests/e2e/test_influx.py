"""The hub on InfluxDB: real recordings arrive exactly, and kill -9 of the store loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import test_recordings
from services.brokers import BrokerKind, brokered_hub
from services.counting import Writer, add_profile, assert_exact, counting_agent
from services.hub import Hub
from services.influx import Influxd, influxd
from services.process import Children
from services.wait import eventually

ROUNDS = (("store",), ("store", "hub"), ("hub", "store"), ("store",))


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influxd]:
    """A server of the test's own, which may be killed."""
    with influxd(tmp_path / "influxd") as server:
        server.make_bucket("lamps")
        yield server


@pytest.fixture
def influx_hub(influx: Influxd, tmp_path: Path, children: Children) -> Iterator[Hub]:
    """A hub that keeps its series there."""
    secret = tmp_path / "token"
    secret.write_text(f"{influx.token}\n")
    add_profile(tmp_path / "profiles")
    options = ("--series-url", influx.series_url("lamps"), "--series-token-file", str(secret))
    with brokered_hub(BrokerKind.NATS, tmp_path, children, *options) as hub:
        yield hub
        assert influx.token not in hub.running.said()


def test_recordings_arrive_exactly(influx_hub: Hub, tmp_path: Path, children: Children) -> None:
    test_recordings.test_a_stream_gauges_log_arrives_exactly(influx_hub, tmp_path, children)
    test_recordings.test_a_signal_controllers_events_arrive_exactly(influx_hub, tmp_path, children)
    assert not (influx_hub.data / "series.duckdb").exists()


@pytest.mark.timeout(300)
def test_a_killed_store_loses_and_doubles_nothing(
    influx: Influxd, influx_hub: Hub, tmp_path: Path, children: Children
) -> None:
    writer = Writer(tmp_path / "counter.csv")
    counting_agent(influx_hub, tmp_path / "counter-1", children, writer)
    writer.start()
    for victims in ROUNDS:
        before = stored(influx_hub)
        eventually(lambda: stored(influx_hub) > before, within_s=60)  # noqa: B023
        for victim in victims:
            (influx if victim == "store" else influx_hub.running).kill()
        if "store" in victims:
            influx.start()
        if "hub" in victims:
            influx_hub.start()
    writer.finish()
    eventually(lambda: stored(influx_hub) >= writer.lines, within_s=90)
    assert_exact(influx_hub, writer)


def stored(hub: Hub) -> int:
    points: int = hub.get("status")["parts"]["series"]["points"]
    return points
