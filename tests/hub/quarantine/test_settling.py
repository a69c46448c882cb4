"""Released without anybody's word only when arrivals prove what a clock lacked, and that it is right again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.ingest.test_pipeline import DEVICE, Hub, batch, ingesting, pack, reading
from hub.registry.rig import START
from lamplighter_hub.quarantine.service import BY_ITSELF, Selection

EPOCH = START - 90_000
"""When the device's clock said 0."""


class Watching(Hub):
    """A hub that looks at clocks as it commits, and at what they prove."""

    def run(self, *, arrives: int, shows: int, value: float, delay: int = 0) -> None:
        """Let a reading come that was taken just before; `shows` is how far the clock is behind."""
        self.rig.clock.now = arrives
        came = batch(self.next(), reading(value, arrives - delay - shows))
        self.take(came._replace(arrived_ms=arrives))

    def next(self) -> int:
        self._count = getattr(self, "_count", 0) + 1
        return self._count

    def settle(self) -> None:
        stop = threading.Event()

        def attend() -> None:
            while not stop.wait(0.002):
                self.pipeline.attend(stop)

        thread = threading.Thread(target=attend)
        thread.start()
        try:
            self.hub.quarantine.settle()
        finally:
            stop.set()
            thread.join()

    def times(self) -> list[int]:
        return [one.t for one in self.hub.series.readings(DEVICE, ["power"], 0, 2**50, limit=100)[0]]


@contextmanager
def watching(folder: Path) -> Iterator[Watching]:
    with ingesting(folder) as plain:
        made = Watching(plain.rig)
        made.pipeline._announce = made.hub.quarantine.clocks.notice
        yield made


def early(hub: Watching, *, every: int = 30_000, delay: int = 400) -> list[int]:
    """Three readings of a clock that began with 1970; return when they were taken."""
    arrivals = [START + every * number for number in range(3)]
    for arrives in arrivals:
        hub.run(arrives=arrives, shows=EPOCH, value=1.0, delay=delay)
    return [arrives - delay for arrives in arrivals]


def later(hub: Watching, *, delay: int = 400, every: int = 30_000, shows: int = 0) -> list[int]:
    arrivals = [START + 600_000 + every * number for number in range(3)]
    for arrives in arrivals:
        hub.run(arrives=arrives, shows=shows, value=2.0, delay=delay)
    return [arrives - delay - shows for arrives in arrivals]


def test_a_clock_that_is_right_again_releases_what_it_left(tmp_path: Path) -> None:
    with watching(tmp_path) as hub:
        hub.settle()
        before = early(hub)
        hub.settle()
        assert hub.times() == [], "nothing proves yet that the device sends at once"
        after = later(hub)
        hub.settle()

        assert hub.times() == before + after
        released = [entry.release for entry in hub.quarantine()]
        assert {(one.by, one.shift) for one in released if one} == {(BY_ITSELF, EPOCH)}
        hub.settle()
        assert len(hub.times()) == 6


def test_it_is_known_after_a_restart_too(tmp_path: Path) -> None:
    with watching(tmp_path) as hub:
        before = early(hub)
        hub.rig.crash()
        again = Watching(hub.rig)
        again._count = 3
        again.pipeline._announce = again.hub.quarantine.clocks.notice
        again.settle()
        after = later(again)
        again.settle()
        assert again.times() == before + after


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"every": 1_000}, id="a burst after it"),
        pytest.param({"delay": 5 * 3_600_000}, id="late, or hours behind"),
        pytest.param({"shows": -3 * 3_600_000}, id="still wrong"),
    ],
)
def test_what_proves_nothing_is_left_to_people(tmp_path: Path, how: dict[str, int]) -> None:
    with watching(tmp_path) as hub:
        hub.settle()
        early(hub)
        later(hub, **how)
        hub.settle()
        assert [entry.release for entry in hub.quarantine() if entry.held] == [None] * (6 if "shows" in how else 3)


def test_a_burst_is_not_released_though_the_clock_is_right_again(tmp_path: Path) -> None:
    with watching(tmp_path) as hub:
        hub.settle()
        early(hub, every=1_000)
        after = later(hub)
        hub.settle()
        assert hub.times() == after
        assert hub.hub.quarantine.preview(Selection(device=DEVICE), EPOCH).released == 3


def test_a_pack_of_a_foreign_device_is_watched_as_well(tmp_path: Path) -> None:
    ahead = 86_400_000
    with watching(tmp_path) as hub:
        hub.settle()
        for number in range(6):
            arrives = hub.rig.clock.now = START + 30_000 * number
            clock = arrives + (ahead if number < 3 else 0)
            hub.take(pack(float(number), at=clock)._replace(arrived_ms=arrives))
        hub.settle()
        assert hub.times() == [START + 30_000 * number for number in range(6)]
