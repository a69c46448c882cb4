"""Which lives of an agent are met, on either database: never one whose numbers may have been given before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from hub.registry.rig import Rig, rig
from lamplighter_hub.presence.lives import Newborn, meets
from lamplighter_hub.registry.models import MetLife
from lamplighter_protocols.presence import Life
from lamplighter_protocols.records import MAX_LIVES, Stream

OUTBOX = "01M80T5JNV000000000000000A"
OTHER = "01M80T5JNV000000000000000B"


def life(number: int, **first: int) -> Life:
    return Life(
        id=f"01M80T5JNV{number:016d}", first=dict.fromkeys(Stream, 1) | {Stream(s): n for s, n in first.items()}
    )


def newborn(*lives: Life, outbox: str = OUTBOX, agent: str = "agent-1", **highest: int) -> Newborn:
    return Newborn(agent, outbox, lives, {Stream(stream): number for stream, number in highest.items()})


@pytest.mark.parametrize(
    ("lives", "known", "highest", "met"),
    [
        ([life(1)], [], {}, True),
        ([life(1, live=8)], [], {"live": 7}, True),
        ([life(1, live=7)], [], {"live": 7}, False),
        ([life(1, live=9, alarm=3)], [], {"live": 7, "alarm": 4}, False),
        ([life(1, live=5), life(2, live=8)], [], {"live": 7}, False),
        ([life(1, live=5), life(2, live=8)], [1], {"live": 7}, True),
        ([life(1, live=2), life(2, live=5), life(3, live=9)], [1], {"live": 7}, False),
        ([life(1, live=2), life(2, live=5), life(3, live=8)], [2], {"live": 7}, True),
        ([life(1, live=2), life(2, live=5)], [2], {"live": 700}, True),
    ],
)
def test_a_life_is_met_when_what_is_not_known_begins_beyond_what_is_known(
    lives: list[Life], known: list[int], highest: dict[str, int], *, met: bool
) -> None:
    numbers = {Stream(stream): number for stream, number in highest.items()}
    assert meets(lives, {life(number).id for number in known}, numbers) is met


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    with rig(tmp_path, server.url(server.create()) if server else "") as made:
        made.street("lamp-1")
        made.hub.enrolment.provision(["agent-2"], "test")
        yield made


def test_what_was_met_is_known_after_a_crash_and_only_to_its_own_outbox(hub: Rig) -> None:
    first, second = life(1, live=1), life(2, live=8)
    assert hub.hub.presence.lives.meet([newborn(first)]) == {("agent-1", OUTBOX): [first.id]}
    restarted = hub.crash()
    met = restarted.presence.lives.meet([
        newborn(first, second, live=7),
        newborn(first, second, live=7, outbox=OTHER),
        newborn(first, second, live=7, agent="agent-2"),
    ])  # fmt: skip
    assert met == {("agent-1", OUTBOX): [first.id, second.id], ("agent-1", OTHER): [], ("agent-2", OUTBOX): []}


def test_nobody_who_was_not_enrolled_is_met(hub: Rig) -> None:
    assert hub.hub.presence.lives.meet([newborn(life(1), agent="stranger"), newborn(life(1))]).keys() == {
        ("agent-1", OUTBOX)
    }


def test_only_the_last_lives_are_kept(hub: Rig) -> None:
    for number in range(MAX_LIVES + 4):
        hub.hub.presence.lives.meet([newborn(life(number))])
        hub.clock.forward(1)
    kept = [number for number in range(MAX_LIVES + 4) if _known(hub, number)]
    assert kept == list(range(4, MAX_LIVES + 4))


def _known(hub: Rig, number: int) -> bool:
    asked = newborn(life(number), life(99), live=1_000)
    return bool(hub.hub.presence.lives.meet([asked])["agent-1", OUTBOX])


def test_an_agent_that_always_has_another_outbox_takes_no_more_room(hub: Rig) -> None:
    many = [newborn(life(number), outbox=f"01M80T5JNW{number:016d}") for number in range(1_200)]
    assert all(hub.hub.presence.lives.meet(many).values()), "each is met"
    with hub.hub.registry.read() as session:
        kept = session.scalars(select(MetLife.life).order_by(MetLife.life)).all()
    assert kept == [life(number).id for number in range(1_200 - MAX_LIVES, 1_200)]
