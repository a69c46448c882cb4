"""What the measurements compute of what they saw: translation, ratios, slopes, verdicts. No measurement is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import peer
from bench.bare import MESSAGES, columns_of, commit_of, pace
from bench.charts import column_of, shown
from bench.crowds import joined
from bench.flood import FORMS, OUTBOX, ROWS, VALUES, command, lines, new_lines, parsed, points_a_line
from bench.frame import Figure, children_of, slope, table
from bench.ingest import unwatched
from bench.measures import MEASURES
from bench.moving import METRICS, rows
from bench.throughput import SIZES, Run, Taken, beside
from lamplighter_firmware_sim.swarm import packets, words
from lamplighter_firmware_sim.swarm.preparation import PROFILE
from lamplighter_protocols import checks
from lamplighter_protocols.profile import load_profiles
from services.need import REPOSITORY, SCRIPTS
from services.wait import eventually

T = 1_795_000_000_000


@pytest.mark.parametrize("points", SIZES)
def test_lines_say_what_the_batch_says(points: int) -> None:
    load = words.load_of(load_profiles()[PROFILE], points)
    batch, record = words.batch(load, OUTBOX, "air-1", 7, T), words.record(load, "air-1", 7, T)
    wanted = {
        (name, str(value), record["t"] + dt)
        for name, column in record["m"].items()
        for dt, value in zip(record["dt"], column, strict=True)
        if value is not None
    }
    for form in FORMS:
        written = [line.split(" ") for line in lines(batch, form)]
        assert {head for head, _, _ in written} == {f"{PROFILE},device=air-1"}
        found = {(*field.split("="), int(t)) for _, fields, t in written for field in fields.split(",")}
        assert found == wanted
        assert len(written) * points_a_line(points, form) == points == len(wanted)


def test_a_value_is_a_line_or_a_row_is() -> None:
    batch = words.batch(words.load_of(load_profiles()[PROFILE], 60), OUTBOX, "air-1", 7, T)
    assert (len(lines(batch, VALUES)), len(lines(batch, ROWS))) == (60, 10)


@pytest.mark.parametrize("form", FORMS)
def test_no_device_of_a_flood_tells_of_a_time_twice(form: str) -> None:
    pieces = new_lines("flood-1", 60, form)
    seen: set[tuple[str, str, str]] = set()
    for _ in range(30):
        for packet in packets.Reader().feed(next(pieces)):
            assert isinstance(packet, packets.Message)
            assert packet.qos == 1
            for line in packet.payload.decode().splitlines():
                head, fields, t = line.split(" ")
                assert len(t) == 13
                for field in fields.split(","):
                    point = head, field.partition("=")[0], t
                    assert point not in seen
                    seen.add(point)
    assert len(seen) == 30 * 50 * 60


@pytest.mark.parametrize("password", ["secret", "-secret", "--rate"])
def test_a_password_is_no_option_of_a_flood(password: str) -> None:
    given = parsed(command(1883, "flood-1", password, 60, 4.5, "--lines", VALUES, "--rate", "100.5"))
    assert (given.port, given.user, given.password) == (1883, "flood-1", password)
    assert (given.points, given.seconds, given.lines, given.rate) == (60, 4.5, VALUES, 100.5)


def test_what_influxdb_says_of_itself() -> None:
    metrics = (
        '# TYPE storage_writer_ok_points_sum counter\nstorage_writer_ok_points_sum{path="/x/engine"} 1.25e+06\n'
        'storage_writer_ok_points_count{path="/x/engine"} 9\n'
    )
    assert peer.stored_lines(metrics) == 1_250_000
    assert peer.stored_lines("nothing yet") == 0


def test_what_was_taken_between_two_looks() -> None:
    taken = peer.taken(peer.Counted(10.0, 1_000, 1.0, 2.0), peer.Counted(20.0, 11_000, 4.0, 3.0), 5, 7.0)
    assert taken == peer.PeerTaken(5_000.0, 3 / 50_000, 1 / 50_000, 7.0)
    assert taken.cpu == pytest.approx(4 / 50_000)


def test_the_ratio_is_one_of_medians_of_points_per_second_of_processor() -> None:
    hubs = [Taken(1_000, cpu, 0) for cpu in (20e-6, 30e-6, 90e-6)]  # a message of ten points
    peers = [peer.PeerTaken(1, cpu, cpu, 0) for cpu in (1e-6, 3e-6, 9e-6)]
    assert beside(10, hubs, peers) == pytest.approx(10 / 30e-6 / (1 / 6e-6))
    assert Run(hubs[0], hubs[0], {}).peers == {}


def test_a_missing_program_is_named_with_what_builds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find", lambda program: None if program == "telegraf" else Path(program))
    assert peer.lacking() == f"needs telegraf: {SCRIPTS['telegraf']}"
    assert (REPOSITORY / SCRIPTS["telegraf"]).stat().st_mode & 0o111


def test_a_slope_is_that_of_least_squares() -> None:
    assert slope([(0, 5), (10, 5), (20, 5)]) == 0
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(0, 0), (1, 1), (2, 0), (3, 1)]) == pytest.approx(0.2)


def test_verdicts() -> None:
    assert Figure("x", 9, "MB", 10).verdict == "met"
    assert Figure("x", 11, "MB", 10).verdict == "MISSED by 10%"
    assert Figure("x", 9, "1/s", 10, more=True).verdict == "MISSED by 10%"
    assert Figure("x", None, "1/s", 10, more=True).verdict == "not taken"
    assert Figure("x", 9, "MB").verdict == ""
    shown_table = table([Figure("x", None, "MB", 10, note="why"), Figure("y", 1234.5, "MB"), Figure("z", -0.25, "%")])
    assert [line.split()[1] for line in shown_table.splitlines()] == ["value", "-", "1,234", "-0.25"]


def _row(t: float, points: float, cpu: float) -> dict[str, float]:
    rest = dict.fromkeys(("shed", "queue_percent", "hub_mb", "broker_mb", "broker_cpu"), 0.0)
    return {**rest, "t": t, "points": points, "hub_cpu": cpu}


def test_looks_at_the_hub_are_joined_with_what_the_agents_counted_before() -> None:
    def second(t: float, p99: float | None, left: int) -> dict[str, Any]:
        late = {"p50": 5.0, "p99": p99}
        return {"t": t, "latency_ms": late, "backlog_records": 100, "backlog_confirmed": 100 - left}

    rows = [_row(100.0, 0, 1.0), _row(101.0, 500, 1.5), _row(103.0, 2_500, 2.5)]
    first, last = joined(rows, [second(100.9, None, 50), second(102.0, 70.0, 20), second(103.5, 90.0, 0)])
    assert (first["s"], first["points_s"], first["hub_cores"]) == (1.0, 500, 0.5)
    assert (first["p50_ms"], first["backlog_percent"]) == (5.0, 50)
    assert "p99_ms" not in first, "nothing was confirmed in that second"
    assert (last["s"], last["points_s"], last["hub_cores"], last["p99_ms"]) == (3.0, 1_000, 0.5, 70.0)
    assert column_of([first, last], "p99_ms") == ([3.0], [70.0])
    titles = {panel.title for panel in shown([first, last])}
    assert titles >= {"stored, points/s", "sample to receipt, ms", "backlog not yet stored, %"}
    assert not any("shed" in title for title in titles), "nothing was shed"
    assert [panel.title for panel in shown([{"s": 1.0, "points_s": 2.0}])] == ["stored, points/s"]


@pytest.mark.parametrize("points", SIZES)
def test_a_commit_of_the_store_and_of_bare_duckdb_hold_the_same_points(points: int) -> None:
    commit = commit_of(points, 3)
    columns = columns_of(commit)
    assert len(columns.t) == sum(len(sample.times) for sample in commit.samples) == MESSAGES * points
    assert columns.number.tolist() == [value for sample in commit.samples for value in sample.values]
    assert len(commit.marks) == MESSAGES
    assert set(columns.t).isdisjoint(columns_of(commit_of(points, 4)).t), "no time comes twice"


def test_the_pace_of_commits() -> None:
    assert pace(10, (3, 2.0, 0.5)) == (3 * MESSAGES * 10 / 2.0, 0.5 / (3 * MESSAGES * 10))


def test_a_profile_without_checks_keeps_its_ranges() -> None:
    watched = load_profiles()[PROFILE]
    assert checks.plan(watched) is not None
    bare = unwatched(watched)
    assert checks.plan(bare) is None
    assert {name: metric.range for name, metric in bare.metrics.items()} == {
        name: metric.range for name, metric in watched.metrics.items()
    }


def test_what_is_moved_is_so_many_readings_each_once() -> None:
    head, *found = rows(["a", "b"], 2_000)
    assert head.startswith("device,metric,")
    keys = {(device, metric, t) for device, metric, _, t, *_ in (row.split(",") for row in found)}
    assert len(keys) == len(found) == 2_000
    assert len({key[:2] for key in keys}) == 2 * METRICS


def test_the_children_of_a_process_are_found_by_name() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert eventually(lambda: children_of(os.getpid()).get("sleep")) == child.pid
        finally:
            child.kill()


def test_help_tells_all_measurements() -> None:
    argv = [sys.executable, "-m", "bench", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment).stdout
    page = (REPOSITORY / "docs" / "measurements.md").read_text(encoding="utf-8")
    for measure in MEASURES:
        assert f"  {measure.name} " in said
        assert measure.about in said
        assert f"- **{measure.name}**" in page, "docs/measurements.md explains every measurement"
