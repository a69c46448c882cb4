"""Swarms against real brokers, with the smallest hub there is answering receipts."""

from __future__ import annotations

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.programs import mistake, run
from firmware_sim.receipts import Receipts
from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.swarm import words
from lamplighter_firmware_sim.swarm.backlog import Backlog, past_of
from lamplighter_firmware_sim.swarm.figures import Figures, Latencies
from lamplighter_firmware_sim.swarm.fleet import Endpoint, endpoint
from lamplighter_firmware_sim.swarm.run import divide
from lamplighter_firmware_sim.swarm.worker import Credential, Share
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.records import BadRecord, parse_batch
from services.mosquitto import Mosquitto, mosquitto
from services.nats import nats_server, secret_of
from services.process import Children
from services.sim import simulator
from services.wait import eventually

pytestmark = pytest.mark.services
OUTBOX = "01JD0000000000000000000000"
AIR = load_profiles()["air-station"]


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    with mosquitto(tmp_path / "mosquitto") as started:
        yield started


def swarm(broker_url: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = run("swarm", "--mqtt-url", broker_url, *arguments, within_s=110)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("points", [1, 5, 6, 7, 10, 60, 1_000])
def test_a_batch_has_exactly_its_points_and_they_are_possible(points: int) -> None:
    load = words.load_of(AIR, points)
    payload = words.batch(load, OUTBOX, "a-d1", 7, 1_795_000_000_000)
    assert payload == words.batch(load, OUTBOX, "a-d1", 7, 1_795_000_000_000)
    header, [record] = parse_batch(payload)
    assert (header.first, header.outbox) == (7, OUTBOX)
    assert not isinstance(record, BadRecord)
    assert record.kind == "readings"
    found = record.points()
    assert len(found) == points
    for reading in found:
        metric = AIR.metrics[reading.metric]
        assert metric.range is not None
        assert metric.range[0] <= float(reading.value or 0) <= metric.range[1]
        assert reading.t <= 1_795_000_000_000


@pytest.mark.parametrize(("points", "interval_s"), [(60, 0.01), (60, 30.0), (1, 0.001), (1_000, 0.5)])
def test_a_batch_is_newer_than_the_one_before(points: int, interval_s: float) -> None:
    load = words.load_of(AIR, points, interval_s)
    times = [
        sorted(reading.t for reading in record.points())
        for nth in range(2)
        for record in parse_batch(
            words.batch(load, OUTBOX, "a-d1", nth + 1, 1_795_000_000_000 + round(nth * interval_s * 1000))
        )[1]
        if not isinstance(record, BadRecord) and record.kind == "readings"
    ]
    assert times[0][-1] < times[1][0]


@pytest.mark.parametrize("raw", [b"", b"{}", b"nonsense", b"[1]", b'{"outbox": "%s", "through": 7}' % OUTBOX.encode()])
def test_what_is_no_receipt_is_passed_over(raw: bytes) -> None:
    assert words.receipt(raw, OUTBOX) is None


def test_figures_add_up() -> None:
    one, other = Figures(agents=2, records=5, confirmed=3), Figures(agents=1, records=1)
    one.refused["not authorized"] += 1
    other.refused["not authorized"] += 2
    for ms in (1, 2, 3, 1_000):
        other.latencies.add(ms)
    one.add(other)
    assert (one.agents, one.unconfirmed, one.refused["not authorized"]) == (3, 3, 3)
    said = one.summary()
    assert said["lost"] == 3
    assert 2 <= said["latency_ms"]["p50"] < 3
    assert 1_000 <= said["latency_ms"]["max"] < 1_100
    assert Latencies().quantile(0.5) is None
    json.dumps(said)


def test_latencies_since_are_those_of_the_time_between() -> None:
    early = Latencies()
    early.add(1)
    late = Latencies()
    late.merge(early)
    late.add(1_000)
    found = late.since(early).quantile(0.01)
    assert found is not None
    assert 1_000 <= found < 1_100


def test_a_backlog_is_sent_a_batch_at_a_time_and_rests_as_long_as_its_receipt_took() -> None:
    backlog = Backlog(records=10)
    assert backlog.take(100.0) == ((1, 3), True)
    assert backlog.due == 130.0
    assert backlog.confirm(0, 103.0, 0.0) == 0
    assert backlog.confirm(3, 101.0, 0.0) == 3
    assert backlog.due == 102.0
    assert backlog.take(102.0) == ((4, 3), True)
    assert backlog.take(132.0) == ((4, 3), False), "its receipt did not come"
    assert backlog.confirm(6, 133.0, 7.0) == 3
    assert backlog.due == 140.0, "the hub asked for it"
    assert backlog.take(140.0) == ((7, 3), True)
    assert backlog.confirm(9, 141.0, 0.0) == 3
    assert backlog.take(142.0) == ((10, 1), True), "no more is left"
    assert backlog.confirm(10, 143.0, 0.0) == 1
    assert backlog.due == float("inf")


@pytest.mark.parametrize(("took_s", "sizes"), [(0.1, [3, 6, 12, 12]), (1.0, [3, 3, 3]), (2.5, [3, 1, 1])])
def test_batches_of_a_backlog_follow_the_time_of_receipts(took_s: float, sizes: list[int]) -> None:
    backlog = Backlog(records=100)
    now, found = 100.0, []
    for _ in sizes:
        (first, records), _ = backlog.take(now)
        found.append(records)
        backlog.confirm(first + records - 1, now + took_s, 0.0)
        now = backlog.due
    assert found == sizes


@pytest.mark.parametrize("seconds", [10, 119, 120, 3_600])
def test_an_hour_of_backlog_is_an_hour_of_samples_each_once(seconds: int) -> None:
    past = past_of(words.load_of(AIR, 6, 1.0), 1.0, seconds, 1_795_000_000_000)
    records = [words.record(past.load, "a-d1", number, past.end_of(number)) for number in range(1, past.records + 1)]
    times = [record["t"] + dt for record in records for dt in record["dt"]]
    assert times == sorted(set(times))
    assert times[-1] == 1_795_000_000_000
    assert seconds * 1000 <= times[-1] - times[0] + 1000 < seconds * 1000 + 120_000
    _, parsed = parse_batch(words.backlog(OUTBOX, 1, 1_795_000_000_000, records[:10]))
    assert not any(isinstance(record, BadRecord) for record in parsed)


def test_agents_and_pace_are_divided() -> None:
    whole = Share(
        tuple(Credential(f"a-{n}") for n in range(10)), Endpoint("h", 1), 1, 1.0, 1, 30, 90.0, "air-station", 1
    )
    parts = divide(whole, 3)
    assert sorted(who.id for part in parts for who in part.credentials) == sorted(who.id for who in whole.credentials)
    assert [part.connects_s for part in parts] == [30.0] * 3


@pytest.mark.parametrize("url", ["127.0.0.1:1883", "http://x", "mqtt://", "mqtt://x:99999", "mqtt://x:y"])
def test_a_bad_url_says_so(url: str) -> None:
    with pytest.raises(UsageError, match="--mqtt-url"):
        endpoint(url)
    assert endpoint("mqtt://x") == Endpoint("x", 1883)


def test_five_hundred_sessions_and_every_record_confirmed(broker: Mosquitto) -> None:
    with Receipts(broker.port) as hub:
        code, said, notes = swarm(
            broker.url, "--agents", "500", "--rate", "1", "--points", "10", "--seconds", "5", "--processes", "2"
        )
        eventually(lambda: len(hub.presence) == 500)
    assert code == 0, notes
    assert said["most_connected"] == said["connects"] == said["births_acknowledged"] == 500
    assert said["confirmed"] == said["records"] == sum(len(numbers) for numbers in hub.stored.values())
    assert said["records"] > 2_000
    assert said["points"] == 10 * said["records"] == hub.points
    assert (said["lost"], said["refused"], said["failed"], said["lost_connections"]) == (0, {}, {}, 0)
    assert said["latency_ms"]["p50"] < 1_000
    assert hub.bad == {}
    assert len(hub.births) == len(hub.stored) == 500
    assert all(birth.devices[0].id == f"{agent}-d1" for agent, birth in hub.births.items())
    assert {(presence.state, presence.reason) for _, presence in hub.presence} == {("offline", "stopped")}
    assert "confirmed" in notes


def test_a_backlog_goes_out_beside_new_records(broker: Mosquitto, tmp_path: Path) -> None:
    timeline = tmp_path / "timeline.jsonl"
    with Receipts(broker.port) as hub:
        code, said, notes = swarm(
            broker.url, "--agents", "20", "--rate", "2", "--points", "6", "--seconds", "4", "--backlog", "900",
            "--timeline", str(timeline),
        )  # fmt: skip
    assert code == 0, notes
    assert said["backlog_confirmed"] == said["backlog_records"] == 20 * 15
    assert all(numbers == list(range(1, 16)) for numbers in hub.backlog.values())
    assert len(hub.backlog) == 20
    assert hub.points == said["points"] + said["backlog_points"]
    assert (hub.bad, said["lost"], said["resent"]) == ({}, 0, 0)
    seconds = [json.loads(line) for line in timeline.read_text().splitlines()]
    assert [second["t"] for second in seconds] == sorted(second["t"] for second in seconds)
    assert any(second["latency_ms"]["p99"] for second in seconds)


def test_records_that_had_to_wait_follow_each_other_in_time(broker: Mosquitto) -> None:
    arguments = ("--agents", "10", "--rate", "500", "--points", "12", "--window", "8", "--seconds", "2")
    with Receipts(broker.port) as hub:
        code, said, notes = swarm(broker.url, *arguments)
    assert code == 0, notes
    assert said["held_back"] > 0, "offered more than was taken"
    assert said["confirmed"] == said["records"]
    assert hub.overlaps == 0


def test_what_the_hub_does_not_confirm_is_sent_again(broker: Mosquitto) -> None:
    with Receipts(broker.port, ignore=lambda number: 10 <= number < 30) as hub:
        code, said, notes = swarm(broker.url, "--agents", "20", "--rate", "2", "--points", "1", "--seconds", "4")
    assert code == 0, notes
    assert said["resent"] > 0
    assert said["confirmed"] == said["records"] == sum(len(numbers) for numbers in hub.stored.values())


def test_without_receipts_everything_is_lost_and_said(broker: Mosquitto) -> None:
    code, said, _ = swarm(
        broker.url, "--agents", "10", "--rate", "5", "--points", "1", "--seconds", "2", "--drain", "1", "--window", "4"
    )
    assert code == 1
    assert said["lost"] == said["records"] == 40, "no more than the window"


def test_all_dropped_at_once_come_back_and_go_on(broker: Mosquitto) -> None:
    with Receipts(broker.port) as hub:
        code, said, notes = swarm(
            broker.url, "--agents", "200", "--rate", "2", "--points", "1", "--seconds", "8",
            "--drop-all-after", "2", "--back-after", "0.5", "--connect-rate", "400",
        )  # fmt: skip
    assert code == 0, notes
    assert said["lost_connections"] == 200
    assert said["connects"] == 400
    assert 0 < said["back_connected_s"] <= said["back_reporting_s"] < 8
    wills = [agent for agent, presence in hub.presence if presence.reason == "connection_lost"]
    assert len(set(wills)) == 200
    assert all(len(sessions) == 2 and sessions[0] < sessions[1] for sessions in hub.sessions.values())
    assert said["confirmed"] == said["records"] == sum(len(numbers) for numbers in hub.stored.values())


def test_all_dropped_for_good(broker: Mosquitto) -> None:
    with Receipts(broker.port) as hub:
        swarm(
            broker.url, "--agents", "50", "--rate", "1", "--points", "1", "--seconds", "60", "--drop-all-after", "1.5"
        )
        eventually(lambda: len({agent for agent, p in hub.presence if p.reason == "connection_lost"}) == 50)


def test_silent_agents_keep_their_promise(broker: Mosquitto) -> None:
    with Receipts(broker.port) as hub:
        code, said, _ = swarm(
            broker.url, "--agents", "5", "--rate", "0", "--points", "1", "--seconds", "4", "--heard-within", "2"
        )
    assert (code, said["records"]) == (0, 0)
    heartbeats = [agent for agent, presence in hub.presence if presence.state == "online"]
    assert len(heartbeats) >= 10, "every 1.6 s"


def test_a_broker_that_restarts_finds_everybody_again(broker: Mosquitto, children: Children) -> None:
    with Receipts(broker.port) as hub:
        child = simulator(
            children, "swarm", "--mqtt-url", broker.url, "--agents", "100", "--rate", "1", "--points", "1",
            "--seconds", "600",
        )  # fmt: skip
        eventually(lambda: len(hub.stored) == 100, within_s=30)
        broker.kill()
        broker.start()
        before = {outbox: len(numbers) for outbox, numbers in hub.stored.items()}
        eventually(lambda: all(len(hub.stored[outbox]) > count + 5 for outbox, count in before.items()), within_s=60)
        child.signal(signal.SIGINT)
        assert child.process.wait(60) == 0, child.said()[-2000:]
    assert '"lost": 0' in child.said()


def test_no_process_of_a_swarm_outlives_it(broker: Mosquitto, children: Children) -> None:
    with Receipts(broker.port) as hub:
        child = simulator(children, "swarm", "--mqtt-url", broker.url, "--agents", "20", "--rate", "1", "--points", "1")
        eventually(lambda: len(hub.births) == 20, within_s=30)
        child.kill()
        eventually(lambda: len({agent for agent, p in hub.presence if p.reason == "connection_lost"}) == 20)


def test_credentials_on_nats_server(tmp_path: Path) -> None:
    agents = [{"id": f"agent-{n}", "password": secret_of(f"agent-{n}")} for n in range(50)]
    agents[7]["password"] = "stolen"
    file = tmp_path / "credentials.json"
    with nats_server(tmp_path / "nats") as embedded:
        file.write_text(json.dumps({"mqtt_url": embedded.server.url, "agents": agents}))
        server = embedded.server
        with Receipts(server.port, server.username, server.password) as hub:
            good = tmp_path / "good.json"
            good.write_text(json.dumps({"mqtt_url": server.url, "agents": agents[:7] + agents[8:]}))
            common = ["--rate", "1", "--points", "1", "--seconds", "3"]
            done = run("swarm", "--credentials", good, "--agents", "49", *common)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["confirmed"] == sum(len(numbers) for numbers in hub.stored.values()) > 0
            nothing = ["--rate", "0", "--points", "1", "--seconds", "0", "--connect-within", "3"]
            done = run("swarm", "--credentials", file, "--agents", "9", *nothing)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["most_connected"] == 8
    assert sum(said["refused"].values()) >= 1


class Registrar(BaseHTTPRequestHandler):
    """The two calls of the API that a swarm makes."""

    asked: list[int] = []
    mqtt_url = ""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer good":
            self.answer(403, {"title": "Forbidden", "detail": "needs the role administrator"})
            return
        self.asked.append(len(body["agents"]))
        self.answer(201, {"items": [{"agent": agent["id"], "password": "x"} for agent in body["agents"]]})

    def do_GET(self) -> None:
        self.answer(200, {"listens": [{"what": "mqtt", "url": self.mqtt_url}]})

    def answer(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        return


def test_agents_are_registered_in_bulk(broker: Mosquitto, tmp_path: Path) -> None:
    Registrar.asked, Registrar.mqtt_url = [], broker.url
    with ThreadingHTTPServer(("127.0.0.1", 0), Registrar) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, kept = f"http://127.0.0.1:{server.server_port}", tmp_path / "kept.json"
        common = ["--agents", "1200", "--rate", "0", "--points", "1", "--seconds", "0", "--hub", url]
        done = run("swarm", *common, "--token", "good", "--credentials", kept)
        assert done.returncode == 0, done.stderr
        refused = run("swarm", *common, "--token", "bad")
        server.shutdown()
    assert Registrar.asked == [1_000, 200]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(kept.read_text())["agents"]) == 1_200
    assert refused.returncode == 2
    assert "403 needs the role administrator" in refused.stderr


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "few.json").write_text('{"mqtt_url": "mqtt://x", "agents": [{"id": "a", "password": "b"}]}')
    common = ["--agents", "9", "--rate", "1", "--points", "1"]
    for arguments, text in (
        ([], "where to?"),
        (["--hub", "http://127.0.0.1:1"], "--hub needs --token"),
        (["--hub", "ftp://x", "--token", "t"], "--hub ftp://x"),
        (["--hub", "http://127.0.0.1:1", "--token", "t"], "is the hub running?"),
        (["--credentials", tmp_path / "none.json"], "No such file"),
        (["--credentials", tmp_path / "bad.json"], "not {"),
        (["--credentials", tmp_path / "few.json"], "holds 1 agents, --agents asks for 9"),
        (["--mqtt-url", "mqtt://x", "--back-after", "1"], "--back-after needs --drop-all-after"),
        (["--mqtt-url", "mqtt://x", "--drop-all-after", "90"], "must be less than --seconds"),
        (["--mqtt-url", "mqtt://x", "--prefix", "Ä"], "is not an id"),
        (["--mqtt-url", "mqtt://x", "--rate", "0", "--backlog", "9"], "--backlog needs --rate"),
        (["--mqtt-url", "mqtt://x", "--timeline", tmp_path / "no" / "file"], "--timeline"),
    ):
        assert text in mistake(capsys, "swarm", *common, *arguments)
    if os.sysconf("SC_OPEN_MAX") <= 20_000:
        done = run(
            "swarm", "--agents", "99000", "--rate", "1", "--points", "1", "--mqtt-url", "mqtt://x", "--processes", "1"
        )
        assert "use more --processes" in done.stderr
