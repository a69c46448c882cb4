"""What an agent's link carried of its data budget is seen on the overview, beside its devices, and in the API."""

from __future__ import annotations

import pytest

from console.conftest import sign_in
from console.html import read
from console.rig import Street
from lamplighter_protocols.topics import Channel

LINK = {"kind": "cellular", "day": "2026-11-25", "up": 3_200_000, "down": 1_000_000, "budget_bytes": 5_000_000}


def say(city: Street, agent: str, session: int, **link: object) -> None:
    city.say(agent, Channel.PRESENCE, {"state": "online", "session": session, "link": LINK | link})


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Saves data: backlog waits", "2026-11-25: 4.2 of 5.0 MB on its link")),
        ("zh", ("节省流量", "链路用量 4.2 / 5.0 MB")),
    ],
)
def test_a_data_budget_is_shown(empty_street: Street, language: str, words: tuple[str, ...]) -> None:
    city, agent, session = empty_street, "pole-1", 7
    city.enrol(agent, {"air-1": "air-station"}, session=session)
    say(city, agent, session, budget="saving")
    visitor = sign_in(city, language=language)
    for path, place in (("/", "links"), ("/overview/links", "links"), ("/devices/air-1", "device-head")):
        shown = read(visitor.get(path).text).one(id=place).text
        assert all(word in shown for word in words), (path, shown)
    (told,) = [item for item in visitor.get("/api/v1/agents").json()["items"] if item["id"] == agent]
    assert told["link"] == LINK | {"budget": "saving"}
    say(city, agent, session - 1, budget="spent")
    assert dict(city.hub.presence.links())[agent].budget == "saving", "a session that is over says nothing"
