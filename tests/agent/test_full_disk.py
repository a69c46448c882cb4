"""An agent whose disk is full connects, delivers what it holds, and has room again because of that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.machine import SmallDisk, allow_writing, forbid_writing
from lamplighter_agent.entries import Single, single
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.spare import SIZE, Spare
from lamplighter_protocols.records import EventRecord, Receipt, Stream
from services.bench import Bench, Log
from services.mosquitto import Mosquitto
from services.need import missing
from services.peer import Peer
from services.wait import eventually

T0 = 1_795_476_600_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    found = SmallDisk(tmp_path / "state", 16)
    if not found.real:
        missing("a tmpfs of its own, which only root may mount")
    yield found
    found.close()


def event(nth: int) -> Single:
    record = EventRecord(device="d", t=T0 + nth, name="e", data={"n": nth, "pad": "x" * 900})
    return single(Stream.LIVE, record, T0 + nth)


def fill_up(outbox: Outbox, after: int, why: str = "") -> int:
    """Append events behind number `after` until the outbox takes no more; return the last that it took."""
    while True:
        try:
            after = outbox.append([event(after + nth) for nth in range(20)])[-1]
        except sqlite3.OperationalError as error:
            if why not in str(error):
                raise
            return after


def filled(folder: Path) -> tuple[Outbox, int]:
    """Return an outbox that takes no more, and how many records it took."""
    outbox = Outbox(folder / "outbox.sqlite", 1 << 28, lambda: T0)
    outbox.open()
    return outbox, fill_up(outbox, 0)


def released(outbox: Outbox) -> int:
    """Release everything, a window at a time."""
    after = freed = 0
    while (window := outbox.window(Stream.LIVE, after)) is not None:
        after = window.last
        freed += outbox.release(Receipt(outbox=outbox.id, through={Stream.LIVE: after}, now=T0))
    return freed


@pytest.mark.parametrize("restart", [False, True])
def test_a_full_outbox_is_emptied_by_receipts_and_takes_records_again(disk: SmallDisk, *, restart: bool) -> None:
    outbox, count = filled(disk.folder)
    disk.fill()
    assert count > 5_000
    if restart:
        outbox.close()
        outbox = Outbox(disk.folder / "outbox.sqlite", 1 << 28, lambda: T0)
        outbox.open()
    assert released(outbox) == count
    assert outbox.append([event(count)]) == [count + 1], "into the room of what went, though the disk is full"
    outbox.close()


def test_the_spare_room_is_not_used_for_new_records(disk: SmallDisk) -> None:
    outbox, count = filled(disk.folder)
    disk.fill()
    assert outbox._spare.give_up()
    count = fill_up(outbox, count, "kept for receipts")
    assert released(outbox) == count
    outbox.append([event(count)])
    outbox.close()


def test_the_spare_room_comes_back_with_the_disks(disk: SmallDisk) -> None:
    spare = Spare(disk.folder / "spare")
    assert spare.keep()
    assert (disk.folder / "spare").stat().st_size == SIZE
    assert spare.give_up()
    disk.fill()
    assert not spare.keep()
    assert not spare.room()
    assert not spare.give_up()
    disk.drain()
    assert spare.keep()


class Counted:
    """A log whose lines are numbered from 0."""

    def __init__(self, bench: Bench) -> None:
        bench.text += "backlog_share = 1\n"
        self._bench = bench
        self._log = Log(bench)
        self.written = 0

    def write(self, lines: int) -> None:
        self._log.write(range(self.written, self.written + lines))
        self.written += lines

    def held(self) -> int:
        return self._bench.held()["backlog"]

    def all_arrived_once(self) -> bool:
        return self._log.arrived() == list(range(self.written)) and self._bench.peer.changed == []


@pytest.mark.services
@pytest.mark.patient
def test_an_agent_that_starts_on_a_full_disk_delivers_and_goes_on(
    disk: SmallDisk, bench: Bench, peer: Peer, broker: Mosquitto
) -> None:
    log = Counted(bench)
    child = bench.started()
    broker.kill()
    log.write(2_000)
    eventually(lambda: log.held() == 2_000, 20)
    disk.fill()
    child.kill()
    bench.start()
    broker.start()
    eventually(lambda: len(peer.births) == 2, 30)
    eventually(log.all_arrived_once, 30)
    log.write(500)
    eventually(log.all_arrived_once, 30)
    assert peer.births[1]["session"] > peer.births[0]["session"]
    eventually(lambda: log.held() == 0)


@pytest.mark.services
@pytest.mark.patient
def test_an_agent_that_can_write_nothing_connects_and_delivers(bench: Bench, peer: Peer, broker: Mosquitto) -> None:
    log = Counted(bench)
    child = bench.started()
    broker.kill()
    log.write(500)
    eventually(lambda: log.held() == 500, 20)
    forbid_writing(child.pid)
    broker.start()
    eventually(lambda: len(peer.births) == 2, 30)
    eventually(log.all_arrived_once, 30)
    assert log.held() == 500
    broker.kill()
    broker.start()
    eventually(lambda: len(peer.births) == 3, 30)
    allow_writing(child.pid)
    log.write(10)
    eventually(log.all_arrived_once, 30)
    eventually(lambda: log.held() == 0, 40)
    sessions = [birth["session"] for birth in peer.births]
    assert sessions == sorted(set(sessions))
