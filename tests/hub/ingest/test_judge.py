"""Checks against earlier readings on their way in: what counts as seen, on the real stores."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from hub.ingest.test_pipeline import (
    DEVICE,
    OUTBOX,
    FailingSeries,
    Hub,
    batch,
    message,
    pack,
    reading,
    run_until_empty,
)
from hub.registry.rig import PROFILE, START, Rig, rig
from lamplighter_hub.ingest.judge import Judge
from lamplighter_hub.ingest.recall import Recall
from lamplighter_hub.series.store import Commit, SeriesError, TimeSeries
from lamplighter_protocols.profile import Profile, load_profiles, parse_profile
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Reading
from lamplighter_protocols.topics import Channel

POWER = '[metrics.power]\nunit = "W"\nmax_rate = 1.0\nmax_gap_s = 600\n'
LAMP = parse_profile(PROFILE.replace('[metrics.power]\nunit = "W"\n', POWER))
GOOD, RATE, GAP = Quality.GOOD, Quality.RATE_OF_CHANGE, Quality.GAP
SECOND = 1000


@contextmanager
def watching(folder: Path) -> Iterator[Rig]:
    with rig(folder) as made:
        cast(dict[str, Profile], made.hub.profiles)["lamp"] = LAMP
        made.street(DEVICE)
        yield made


def qualities(hub: Hub) -> list[Quality]:
    return [row.quality for row in hub.hub.series.readings(DEVICE, ["power"], 0, 2**50, limit=1000)[0]]


def test_flags_are_stored_beside_the_value_and_repetitions_change_nothing(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        hub = Hub(made)
        first, second = batch(1, reading(40)), batch(2, reading(90, START + SECOND))
        hub.take(first, second)
        hub.take(second, first, batch(3, reading(41, START + 2 * SECOND)))

        assert (hub.powers(), qualities(hub)) == ([40, 90, 41], [GOOD, RATE, GOOD])


def test_a_commit_that_is_repeated_does_not_judge_its_values_against_themselves(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        hub = Hub(made, FailingSeries(made.hub.series, [SeriesError("no room"), SeriesError("no room")]))
        hub.source.waiting = [batch(1, reading(40), reading(90, START + SECOND), reading(91, START + 60 * SECOND))]
        run_until_empty(hub)

        assert (hub.powers(), qualities(hub)) == ([40, 90, 91], [GOOD, RATE, GOOD])


def test_what_goes_into_quarantine_was_not_seen(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        hub = Hub(made)
        hub.take(batch(1, reading(40), reading(95, START + 2**40), reading("99", START + 1)))
        hub.take(batch(4, reading(41, START + SECOND)))

        assert (hub.powers(), qualities(hub)) == ([40, 41], [GOOD, GOOD])


def test_late_readings_are_judged_among_themselves(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        hub = Hub(made)
        hub.take(batch(1, reading(40)))
        late = [reading(value, START - 3600 * SECOND + n * SECOND) for n, value in enumerate((5, 70, 6))]
        hub.take(batch(1, *late[:2], stream="backlog"))
        hub.take(batch(3, late[2], stream="backlog"), batch(2, reading(41, START + SECOND)))

        assert (hub.powers(), qualities(hub)) == ([5, 70, 6, 40, 41], [GOOD, RATE, GOOD, GOOD, GOOD])


@pytest.mark.parametrize(("held", "wanted"), [(0, GAP), (7, GOOD)])
def test_a_gap_is_none_while_the_agent_holds_a_backlog(tmp_path: Path, held: int, wanted: Quality) -> None:
    with watching(tmp_path) as made:
        hub = Hub(made)
        hub.take(batch(1, reading(40)))
        hub.rig.clock.forward(900)
        after = reading(40, START + 900 * SECOND)
        said = {"outbox": OUTBOX, "stream": "live", "first": 2, "sent": START, "held": {"backlog": held}}
        hub.take(message(Channel.BATCH, said | {"records": [after]}))

        assert qualities(hub) == [GOOD, wanted]


def test_foreign_devices_are_judged_too_and_known_again(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        hub = Hub(made)
        hub.take(pack(12.5))
        hub.take(pack(77.5, at=START + SECOND))
        hub.take(pack(77.5, at=START + SECOND), pack(12.5, at=START + 2 * SECOND))

        assert (hub.powers(), qualities(hub)) == ([12.5, 77.5, 12.5], [GOOD, RATE, GOOD])


def started_again(made: Rig, series: TimeSeries | None = None) -> Hub:
    """Return a hub that remembers nothing but what is stored."""
    again = Hub(made, series)
    again.pipeline._judge = Judge(Recall(series or made.hub.series))
    return again


def test_a_hub_that_starts_again_goes_on_from_what_is_stored(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        Hub(made).take(batch(1, reading(40)))
        again = started_again(made)
        again.take(batch(2, reading(90, START + SECOND)))

        assert qualities(again) == [GOOD, RATE]


def test_a_commit_whose_answer_was_lost_is_judged_by_what_was_stored_before_it(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        Hub(made).take(batch(1, reading(40)))
        again = started_again(made, Unheard(made.hub.series))
        again.source.waiting = [batch(2, reading(90, START + SECOND), reading(90, START + 2 * SECOND))]
        run_until_empty(again)

        assert (again.powers(), qualities(again)) == ([40, 90, 90], [GOOD, RATE, RATE])


class Unheard(FailingSeries):
    """The real store; the answer to its first commit is lost, and what comes next must be that commit again."""

    def __init__(self, real: TimeSeries) -> None:
        super().__init__(real, [])
        self._landed: Commit | None = None

    def commit(self, commit: Commit) -> None:
        if self._landed is None:
            self._landed = commit
            super().commit(commit)
            raise SeriesError("the answer was lost")
        assert commit == self._landed


def test_a_store_that_does_not_answer_holds_nothing_up_and_the_checks_begin_afresh(tmp_path: Path) -> None:
    with watching(tmp_path) as made:
        Hub(made).take(batch(1, reading(40)))
        silent = Silent(made.hub.series)
        judge = Judge(Recall(silent))
        column = Samples("lamp-1", "power", [START + SECOND], [90.0], None)
        judged = [judge.begin().of(LAMP, device, [column])[0] for device in (DEVICE, "lamp-8", "lamp-9")]

        assert [one.qualities for one in judged] == [None, None, None]
        assert silent.asked == [DEVICE], "it is left alone for a while"


class Silent(FailingSeries):
    """The real store, but it does not say what is newest."""

    def __init__(self, real: TimeSeries) -> None:
        super().__init__(real, [])
        self.asked: list[str] = []

    def latest(self, devices: Sequence[str]) -> dict[str, dict[str, Reading]]:
        self.asked += devices
        raise SeriesError("not now")


def test_memory_is_bounded_and_small() -> None:
    station = load_profiles()["air-station"]
    watched = sum(metric.watched for metric in station.metrics.values())
    judge = Judge(most=100)
    for nth in range(300):
        group = judge.begin()
        group.of(station, f"air-{nth}", [Samples(f"air-{nth}", "pm25", [START], [float(nth)], None)])
        judge.keep(group)
    states = judge._known
    assert (len(states), next(iter(states))) == (100, "air-200")
    sizes = [sys.getsizeof(state) + sys.getsizeof(state.live) for state in states.values()]
    assert max(sizes) <= 64 * watched + 200
