"""A short, fixed set of seeds on both brokers, and proof that the harness can fail."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from pathlib import Path

import pytest

from chaos.compare import (
    CALM,
    LATE_MS,
    Asked,
    Given,
    Item,
    Span,
    Tally,
    Timeline,
    clean,
    compare,
    compare_commands,
)
from chaos.drive import Drive, verdict
from chaos.report import table
from chaos.schedule import ALONE, LASTS_S, MENDED, ORDER, Fault, Strike, groups, plan, rank
from chaos.wire import Packets, Shuffler, batch
from chaos.world import Ground, world
from services.need import need

VICTIMS = {fault: ["a", "b", "hub", "broker", "store"] for fault in Fault}
ITEMS = [Item(1_000 + n, n) for n in range(10)]
SHORT = (
    Fault.KILL_AGENT,
    Fault.KILL_HUB,
    Fault.KILL_BROKER,
    Fault.HALF_OPEN_LINK,
    Fault.SHUFFLED_BATCHES,
    Fault.POISON,
    Fault.HUB_DISK_SLOW,
    Fault.CUT_DEVICE,
)
GROWN = (
    Fault.KILL_HUB,
    Fault.KILL_STORE,
    Fault.CUT_STORE,
    Fault.KILL_REGISTRY,
    Fault.READ_ONLY_REGISTRY,
    Fault.STORE_DISK_FULL,
    Fault.REGISTRY_DISK_FULL,
)
NEEDS = {Ground.NATS: (), Ground.MOSQUITTO: ("mosquitto",), Ground.GROWN: ("influxd", "initdb")}


# The plan


def test_the_same_seed_gives_the_same_plan_and_another_another() -> None:
    assert plan(7, 300, VICTIMS) == plan(7, 300, VICTIMS)
    assert plan(7, 300, VICTIMS) != plan(8, 300, VICTIMS)


def test_a_longer_plan_begins_like_a_shorter_one() -> None:
    short = plan(7, 100, VICTIMS)
    assert plan(7, 900, VICTIMS)[: len(short)] == short


def test_every_fault_has_its_turn_before_one_comes_again() -> None:
    first = plan(3, 2_000, VICTIMS)[: len(Fault)]
    assert {strike.fault for strike in first} == set(Fault)


def test_two_together_strike_different_parts_also_on_the_hubs_side() -> None:
    together = [group for group in groups(plan(5, 5_000, VICTIMS)) if len(group) > 1]
    pairs = [{strike.victim for strike in group} for group in together]
    assert all(len(pair) == 2 for pair in pairs)
    assert any(pair <= set(ORDER) for pair in pairs)


def test_two_on_the_hubs_side_are_struck_and_mended_in_the_order_of_their_needs() -> None:
    hub, store = Strike(Fault.KILL_HUB, "hub", 1, 1), Strike(Fault.KILL_STORE, "store", 1, 1)
    (group,) = groups([store._replace(with_next=True), hub])
    assert [strike.victim for strike in group] == ["hub", "store"]
    assert min(group, key=lambda strike: rank(strike, MENDED)).victim == "store"


def test_a_hub_that_starts_several_times_is_struck_alone() -> None:
    for group in groups(plan(5, 5_000, VICTIMS)):
        faults, victims = {strike.fault for strike in group}, [strike.victim for strike in group]
        if faults & ALONE and len(group) > 1:
            assert not set(victims) <= set(ORDER)


def test_strikes_last_as_long_as_they_may_and_fill_the_time() -> None:
    strikes = plan(5, 600, VICTIMS)
    assert all(LASTS_S[one.fault][0] <= one.lasts_s <= LASTS_S[one.fault][1] for one in strikes)
    assert len(strikes) > 40


def test_a_fault_without_victims_does_not_occur() -> None:
    strikes = plan(5, 600, {**VICTIMS, Fault.CLOCK_JUMP: []})
    assert Fault.CLOCK_JUMP not in {one.fault for one in strikes}


# The comparison


def compared(stored: list[Item], declared: list[Span], gone: set[Item], *, owed: bool = True) -> Tally:
    tally, timeline = Tally(), Timeline()
    timeline.mark(5.0, "cut-link")
    given = Given("log", "d", {item: float(item.n) for item in ITEMS}, owed)
    compare(tally, timeline, given, stored, declared, gone)
    return tally


def test_all_of_it_once_is_clean() -> None:
    tally = compared(ITEMS, [], set())
    assert clean(tally)
    assert tally.by_fault[CALM] == tally.by_fault["cut-link"] == Counter(sent=5, stored=5)


def test_a_lost_record_is_found_and_blamed_on_its_fault() -> None:
    tally = compared([item for item in ITEMS if item.n != 7], [], set())
    assert not clean(tally)
    assert tally.by_fault["cut-link"]["lost"] == 1
    assert "n=7" in tally.wrong[0]


def test_a_doubled_record_is_found() -> None:
    tally = compared([*ITEMS, ITEMS[2]], [], set())
    assert not clean(tally)
    assert tally.by_fault[CALM]["twice"] == 1


def test_an_invented_or_altered_record_is_found() -> None:
    tally = compared([*ITEMS[1:], Item(ITEMS[0].t, 99)], [], set())
    assert (tally.total("lost"), tally.total("invented")) == (1, 1)


def test_what_was_declared_is_not_lost_and_what_is_beside_it_is() -> None:
    tally = compared(ITEMS[4:], [Span(1_001, 1_003)], set())
    assert (tally.total("declared"), tally.total("lost")) == (3, 1)
    assert not clean(tally)


def test_what_the_broker_took_along_is_told_apart() -> None:
    tally = compared(ITEMS[1:], [], {ITEMS[0]})
    assert clean(tally)
    assert tally.total("gone") == 1


def test_a_polled_reading_may_be_missing_but_not_be_there_twice() -> None:
    assert clean(compared(ITEMS[1:], [], set(), owed=False))
    assert not clean(compared([*ITEMS, ITEMS[0]], [], set(), owed=False))


@pytest.mark.parametrize(
    ("asked", "times", "column"),
    [
        (Asked(1, 0.0, 1_000, "succeeded"), [900], ""),
        (Asked(1, 0.0, 1_000, "expired"), [], ""),
        (Asked(1, 0.0, 1_000, "failed"), [900], ""),
        (Asked(1, 0.0, 1_000, "unknown", known=False), [], ""),
        (Asked(1, 0.0, 1_000, "succeeded"), [900, 950], "done_twice"),
        (Asked(1, 0.0, 1_000, "succeeded"), [1_001 + LATE_MS], "late"),
        (Asked(1, 0.0, 1_000, "expired"), [900], "false"),
        (Asked(1, 0.0, 1_000, "succeeded"), [], "false"),
        (Asked(1, 0.0, 1_000, "unknown", known=False), [900], "false"),
        (Asked(1, 0.0, 1_000, "running"), [900], "open"),
        (Asked(2, 0.0, 1_000, "expired"), [900], "false"),
    ],
)
def test_commands_are_held_against_the_peers_own_count(asked: Asked, times: list[int], column: str) -> None:
    tally = Tally()
    compare_commands(tally, Timeline(), [asked], {1: times} if times else {})
    assert clean(tally) == (not column)
    assert not column or tally.total(column) == 1


def test_the_table_has_a_line_for_each_fault_and_a_sum() -> None:
    text = table(compared(ITEMS[1:], [], set()), {"cut-link": 2})
    assert [line.split(" ")[0] for line in text.splitlines()] == ["fault", "calm", "cut-link", "all"]
    assert "LOST" in text


# The line


def publish(topic: bytes, payload: bytes, qos: int = 0) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (b"\0\1" if qos else b"") + payload
    assert len(body) < 16_384
    return bytes([0x30 | qos << 1, len(body) & 127 | 128, len(body) >> 7]) + body


BATCHES = [publish(b"lamplighter/v1/a/up/batch", zlib.compress(b'{"records":[],"n":%d}' % n)) for n in range(40)]


def test_a_stream_is_cut_into_its_packets_however_it_comes() -> None:
    stream = b"\xc0\x00" + b"".join(BATCHES)
    for size in (1, 7, len(stream)):
        packets = Packets()
        found = [one for at in range(0, len(stream), size) for one in packets.feed(stream[at : at + size])]
        assert found == [b"\xc0\x00", *BATCHES]


def test_only_batches_at_qos_0_are_batches() -> None:
    assert [(batch(one) or {})["n"] for one in BATCHES] == list(range(40))
    assert batch(publish(b"lamplighter/v1/a/up/batch", b"{}", qos=1)) is None
    assert batch(publish(b"lamplighter/v1/a/up/birth", b"{}")) is None
    assert batch(b"\xc0\x00") is None


def test_shuffling_doubles_and_reorders_and_loses_nothing() -> None:
    shuffler = Shuffler(random.Random(1))
    out = [one for packet in BATCHES for one in shuffler.pass_on(packet)] + shuffler.let_go()
    assert set(out) == set(BATCHES)
    assert len(out) > len(BATCHES)
    first = list(dict.fromkeys(out))
    assert first != BATCHES


# The real thing


@pytest.mark.services
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("ground", "seed"), [(Ground.NATS, 11), (Ground.MOSQUITTO, 12), (Ground.GROWN, 13)])
def test_nothing_is_lost_or_done_twice(ground: Ground, seed: int, tmp_path: Path) -> None:
    for program in NEEDS[ground]:
        need(program)
    lines: list[str] = []
    chosen = GROWN if ground is Ground.GROWN else SHORT
    with world(tmp_path / "world", ground, seed) as made:
        victims = {fault: some for fault, some in made.victims().items() if fault in chosen}
        outcome = Drive(made, _shortened(plan(seed, 40, victims)), seed, lines.append).run()
    text = "\n".join([*lines, table(outcome.tally, outcome.struck), *outcome.tally.wrong])
    assert outcome.clean, f"{text}\n{verdict(outcome)}"
    assert outcome.tally.total("sent") > 1_000


def _shortened(strikes: list[Strike]) -> list[Strike]:
    return [one._replace(lasts_s=min(one.lasts_s, 5.0)) for one in strikes]
