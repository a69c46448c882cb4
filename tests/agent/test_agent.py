"""The whole agent as a process, with a real broker, real devices, and a peer that speaks the wire contract."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chaos.machine import WrongClock
from lamplighter_protocols.topics import Channel
from services.bench import Bench, Log, ended, meter
from services.mosquitto import Mosquitto, mosquitto
from services.peer import Peer, now_ms
from services.ports import free_port
from services.process import Child, Children
from services.wait import eventually

pytestmark = pytest.mark.services


def cpu_s(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_birth_says_how_often_a_device_is_read_where_agent_toml_has_it(bench: Bench, peer: Peer) -> None:
    with meter(bench):
        bench.text = bench.text.replace('profile = "meter"', 'profile = "meter"\ninterval_s = 0.5')
        bench.started()
    assert peer.births[0]["devices"][0]["interval_s"] == 0.5


def test_readings_arrive_and_the_end_is_said(bench: Bench, peer: Peer) -> None:
    with meter(bench):
        child = bench.started()
        assert cpu_s(child) < 1.5, "a start is quick; counted in CPU seconds, for the machine may be busy"
        eventually(lambda: len(peer.points()) >= 20)
        assert ended(child)
    assert {(d, m, v) for d, m, _, v in peer.points()} == {("d-1", "a", 12.3), ("d-1", "b", 65_538)}
    assert min(t % 200 for _, _, t, _ in peer.points()) <= 50, "the schedule follows the clock; a busy machine is late"
    eventually(lambda: [p["reason"] for p in peer.presences] == ["stopped"])
    (birth,) = peer.births
    (born,) = birth["devices"]
    assert birth["session"] == 1
    assert born == {"id": "d-1", "profile": "meter", "version": 0, "hash": "", "interval_s": None}
    nothing = {"alarm": 0, "live": 0, "backlog": 0}
    assert (birth["held"], birth.get("last", {})) == (nothing, {})
    assert (peer.presences[0]["held"].keys(), peer.presences[0]["outbox"]) == (nothing.keys(), birth["outbox"])
    assert peer.retained == 0
    assert peer.changed == []
    assert "Traceback" not in child.said()


def test_a_killed_agent_leaves_its_will_and_comes_back_with_a_higher_session(bench: Bench, peer: Peer) -> None:
    with meter(bench):
        child = bench.started()
        child.kill()
        eventually(lambda: peer.presences)
        assert (peer.presences[0]["reason"], peer.presences[0]["session"]) == ("connection_lost", 1)
        bench.started().signal(signal.SIGTERM)
    first, second = (birth["session"] for birth in peer.births)
    assert first == 1
    assert second > first
    assert peer.births[0]["outbox"] == peer.births[1]["outbox"]


@pytest.mark.patient
def test_nothing_is_lost_or_doubled_over_kills(bench: Bench, peer: Peer, broker: Mosquitto) -> None:
    """A logger's file, the agent killed again and again, receipts lost half of the time, the broker killed once."""
    bench.text += "backlog_share = 1\n"
    log = Log(bench)
    for round_ in range(8):
        peer.answers = round_ % 2 == 0
        child = bench.started()
        log.write(range(round_ * 1_500, (round_ + 1) * 1_500))
        more_than(peer.batches, len(peer.batches) + round_ % 3)
        if round_ == 5:
            broker.kill()
            heard = len(peer.batches)
            broker.start()
            more_than(peer.batches, heard, 30)
        child.kill()
    peer.answers = True
    child = bench.started()
    eventually(lambda: len(log.arrived()) >= 12_000, 60)
    assert ended(child)
    assert log.arrived() == list(range(12_000)), "each line once, in order"
    assert peer.changed == []
    assert len(peer.records) == 1


@pytest.mark.patient
def test_an_agent_out_of_an_older_image_of_its_disk_loses_nothing_new(
    bench: Bench, peer: Peer, broker: Mosquitto
) -> None:
    """Its numbers were given before, to records that the hub has: what it says anew must not pass for those."""
    log = Log(bench)
    lives(bench, log, range(100))
    image, lines = shutil.copytree(bench.folder / "state", bench.folder / "image"), log.path.read_text()
    lives(bench, log, range(100, 200))
    lives(bench, log, range(200, 300))
    shutil.rmtree(bench.folder / "state")
    shutil.move(image, bench.folder / "state")
    log.path.write_text(lines)

    broker.kill()
    records_alone(bench, log, range(1_000, 1_120)).kill()  # it is started once more before it has met the hub
    child = records_alone(bench, log, range(1_120, 1_250))
    broker.start()

    eventually(lambda: 1_249 in log.arrived(), 30)
    assert sorted(log.arrived()) == [*range(300), *range(1_000, 1_250)]
    assert peer.changed == []
    assert len(peer.records) <= 3, "one outbox"
    sessions = [birth["session"] for birth in peer.births]
    assert sessions[-1] > max(earlier for earlier in sessions if earlier != sessions[-1])
    assert "older copy" in child.said()
    assert ended(child)


def lives(bench: Bench, log: Log, lines: range) -> None:
    """An agent starts, delivers lines and ends."""
    child = bench.started()
    log.write(lines)
    eventually(lambda: lines[-1] in log.arrived(), 30)
    assert ended(child)


def records_alone(bench: Bench, log: Log, lines: range) -> Child:
    """An agent starts without a hub, and keeps lines."""
    before = held_bytes(bench)
    child = bench.start()
    log.write(lines)
    eventually(lambda: held_bytes(bench) > before + 10_000)
    return child


def held_bytes(bench: Bench) -> int:
    return int((bench.status()["outbox"] or {"bytes": 0})["bytes"])


def more_than(found: list[Any], count: int, within_s: float = 10) -> None:
    eventually(lambda: len(found) > count, within_s)


@pytest.mark.patient
def test_readings_of_a_machine_that_began_in_1970_arrive_with_their_true_times(
    bench: Bench, peer: Peer, broker: Mosquitto
) -> None:
    """While the hub is away the agent is killed and started, and somebody sets the clock, not quite right."""
    clock = WrongClock(bench.folder / "clock")
    clock.jump(-1_790_000_000)

    def holds(more: int) -> None:
        least = held_bytes(bench) + more
        eventually(lambda: held_bytes(bench) >= least)

    with meter(bench):
        broker.kill()
        begun = now_ms()
        first = bench.start(clock.environment)
        holds(400)
        first.kill()
        child = bench.start(clock.environment)
        holds(200)
        clock.jump(-3_600)
        holds(200)
        broker.start()
        eventually(lambda: peer.points() and peer.points()[-1][2] > now_ms() - 2_000, 30)
        assert ended(child)
    times = sorted({t for _, metric, t, _ in peer.points() if metric == "a"})
    assert begun - 1_500 <= times[0]
    assert times[-1] <= now_ms() + 1_500
    assert max(b - a for a, b in pairwise(times)) < 10_000, "in one row, without a jump"
    said = sorted(float(found.replace(",", "")) for found in re.findall(r"corrected by \+([\d,.]+) s", child.said()))
    assert said == [pytest.approx(3_600, abs=5), pytest.approx(1_790_000_000, abs=5)]
    assert peer.changed == []


@pytest.mark.patient
def test_a_fetch_brings_exactly_what_is_held_and_says_what_is_not(bench: Bench, peer: Peer) -> None:
    log = Log(bench)
    log.write(range(1, 6))
    bench.started()
    eventually(lambda: len(peer.all("event")) == 5)
    eventually(lambda: bench.held()["backlog"] == 0)
    peer.answers = False
    log.write(range(6, 11))
    eventually(lambda: len(peer.all("event")) == 5 and any(batch["first"] == 6 for batch in peer.batches))
    outbox = peer.births[-1]["outbox"]
    fetch = {"type": "fetch", "agent": "agent-1", "issued_at": now_ms(), "outbox": outbox, "stream": "backlog"}
    peer.send(Channel.FETCH, fetch | {"ranges": [[2, 3], [7, 8]]})

    def sent(stream: str) -> list[dict[str, Any]]:
        return [batch for batch in peer.batches if batch["stream"] == stream]

    eventually(lambda: sent("alarm") and any(batch["first"] == 7 for batch in sent("backlog")))
    (told,) = sent("alarm")[0]["records"]
    assert (told["stream"], told["first"], told["last"], told["reason"]) == ("backlog", 2, 3, "not_held")
    again = next(batch for batch in sent("backlog") if batch["first"] == 7)
    assert [record["data"]["n"] for record in again["records"]] == [7, 8]
    assert again["freed"]["backlog"] == 5
    peer.answers = True
    eventually(lambda: bench.held()["backlog"] == 0, 60)


def test_a_throttled_agent_holds_its_backlog_and_goes_on_with_the_rest(bench: Bench, peer: Peer) -> None:
    log = Log(bench)
    with meter(bench):
        peer.retry_after_ms = 3_600_000
        child = bench.started()
        eventually(lambda: peer.points() and "asks to hold the backlog" in child.said())
        log.write(range(100))
        eventually(lambda: bench.held()["backlog"] == 100)
        live = len(peer.points())
        eventually(lambda: len(peer.points()) > live + 5)
        assert {batch["stream"] for batch in peer.batches} == {"live"}
        peer.retry_after_ms = 0
        child.kill()
        bench.started()
        eventually(lambda: len(peer.all("event")) == 100, 30)


@pytest.mark.patient
def test_a_silent_hub_gets_the_same_again(bench: Bench, peer: Peer) -> None:
    Log(bench).write(range(1, 2))
    peer.answers = False
    bench.started()
    eventually(lambda: len(peer.batches) >= 2, 20)
    assert peer.batches[0]["records"] == peer.batches[1]["records"]
    peer.answers = True
    eventually(lambda: bench.held()["backlog"] == 0, 30)


@pytest.mark.patient
def test_a_dead_device_does_not_delay_another_and_is_reported_once(bench: Bench, peer: Peer) -> None:
    with meter(bench) as device:
        bench.device("dead", "meter", "modbus", host="127.0.0.1", port=free_port())
        child = bench.started()
        eventually(lambda: [e for e in peer.all("event") if e["device"] == "dead"])
        count = len(peer.points())
        eventually(lambda: len(peer.points()) >= count + 40, 20)
        assert [e["name"] for e in peer.all("event")] == ["device_unreachable"]
        flagged = [r for r in peer.all("readings") if r["device"] == "dead"]
        assert [r["q"] for r in flagged] == [{"a": ["no_data"], "b": ["no_data"]}]
        device.kill()
        eventually(lambda: len([e for e in peer.all("event") if e["name"] == "device_unreachable"]) == 2)
        device.start("tcp", str(device.port))
        eventually(lambda: "device_back" in [e["name"] for e in peer.all("event")], 20)
        assert child.said().count("does not answer") == 2


def test_a_command_acts_once_and_its_result_comes_back(bench: Bench, peer: Peer) -> None:
    with meter(bench) as device:
        child = bench.started()
        command = peer.command("agent-1", "d-1", "set", args={"v": 42})
        peer.send(Channel.COMMAND, command)
        eventually(lambda: "succeeded" in peer.results(command["id"]))
        assert peer.results(command["id"]) == ["received", "running", "succeeded"]
        assert device.holding(10) == 42
        child.kill()
        bench.started()
        peer.send(Channel.COMMAND, command)
        eventually(lambda: peer.results(command["id"])[3:] == ["succeeded"])
        assert device.written.read_text().split() == ["10", "42"]
        late = peer.command("agent-1", "d-1", "set", args={"v": 7}, issued_at=now_ms() - 9_000, expires_at=now_ms() - 1)
        peer.send(Channel.COMMAND, late)
        eventually(lambda: peer.results(late["id"]) == ["expired"])
        assert device.holding(10) == 42


def test_what_is_not_signed_not_ours_or_not_new_is_refused_and_counted(bench: Bench, peer: Peer) -> None:
    with meter(bench) as device:
        child = bench.started()
        good = peer.command("agent-1", "d-1", "set", args={"v": 9})
        head, body, tail = peer.signed(good).split(b".")
        bad = [
            json.dumps(good).encode(),
            b".".join([head, body[:-8] + b"AAAAAAAA", tail]),
            peer.signed(good, kid="other"),
            peer.signed(good | {"agent": "agent-2"}),
            peer.signed(good | {"device": "d-2"}),
            peer.signed(good | {"type": "configuration"}),
            b"\x00" * 300,
        ]
        for payload in bad:
            peer.say(Channel.COMMAND, payload, "agent-1", "d-1")
        peer.say(Channel.COMMAND, peer.signed(good | {"device": "d-9"}), "agent-1", "d-9")
        peer.say(Channel.FETCH, peer.signed({"type": "fetch", "agent": "agent-1", "issued_at": 5}), "agent-1")

        def refused() -> set[str]:
            return {e["data"]["reason"] for e in peer.all("event") if e["name"] == "downlink_refused"}

        eventually(lambda: refused() == {"bad_signature", "wrong_address", "bad_field", "replayed"})
        assert device.written.read_text() == ""
        assert peer.results(good["id"]) == []
        assert child.said().count("bad_signature") == 1
        peer.send(Channel.FETCH, {"type": "fetch", "agent": "agent-1", "issued_at": now_ms()})
        eventually(lambda: len(peer.births) == 2)
        assert peer.births[0]["session"] == peer.births[1]["session"]


def reported(peer: Peer) -> list[tuple[int, str]]:
    return [(record["version"], record["state"]) for record in peer.all("reported")]


def test_configuration_is_applied_verified_refused_and_survives(bench: Bench, peer: Peer) -> None:
    with meter(bench) as device:
        child = bench.started()
        peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", 3, {"limit": 77, "interval_s": 0.1}))
        eventually(lambda: reported(peer) == [(3, "applied")])
        assert device.holding(20) == 77
        peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", 4, {"limit": 5_000}))
        eventually(lambda: (4, "rejected") in reported(peer))
        assert peer.all("reported")[-1]["errors"] == [{"field": "limit", "detail": "is above 1000"}]
        for version in range(5, 10):
            peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", version, {"limit": version}))
        eventually(lambda: (9, "applied") in reported(peer))
        peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", 8, {"limit": 8}))
        peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", 9, {"limit": 9}))
        eventually(lambda: reported(peer).count((9, "applied")) == 2)
        assert device.holding(20) == 9
        eventually(lambda: bench.status()["configuration"][0]["before"] is None)
        child.kill()
        bench.started()
        assert peer.births[-1]["devices"][0]["version"] == 9


@pytest.mark.patient
def test_a_change_is_rolled_back_when_the_hub_stays_away(bench: Bench, peer: Peer) -> None:
    with meter(bench) as device:
        bench.started()
        peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", 1, {"limit": 11}))
        eventually(lambda: reported(peer) == [(1, "applied")])
        eventually(lambda: bench.status()["configuration"][0]["before"] is None)
        peer.answers = False
        peer.send(Channel.DESIRED, peer.desired("agent-1", "d-1", 2, {"limit": 22}, rollback_after_s=5))
        eventually(lambda: device.holding(20) == 22)
        eventually(lambda: device.holding(20) == 11, 15)
        peer.answers = True
        eventually(lambda: (2, "rolled_back") in reported(peer), 40)
        assert "5 s" in peer.all("reported")[-1]["reason"]


@pytest.mark.patient
def test_a_refused_connection_is_tried_again_and_said_once(tmp_path: Path, children: Children) -> None:
    with mosquitto(tmp_path / "closed", "allow_anonymous false\n") as broker:
        bench = Bench(tmp_path, Peer(broker.port), children)
        child = bench.start()
        eventually(lambda: bench.status()["session"] >= 3, 30)
        assert child.running
        assert child.said().count("no session with") == 1
        assert "ot authori" in child.said()
        assert ended(child)


def test_a_quiet_agent_keeps_its_promise(bench: Bench, peer: Peer) -> None:
    bench.text = "heard_within_s = 1\n" + bench.text
    bench.started()
    eventually(lambda: len(peer.presences) >= 3)
    assert {(p["state"], p["reason"]) for p in peer.presences} == {("online", "heartbeat")}


def test_a_second_agent_in_the_same_folder_is_refused(bench: Bench) -> None:
    bench.started()
    second = bench.start()
    assert second.process.wait(10) == 1
    assert "another agent works in this folder" in second.said()
