"""What an agent's link carried of its data budget is seen on the overview, beside its devices, and in the API."""

from __future__ import annotations

import pytest

from console.conftest import sign_in
from console.html import read
from console.rig import Street
from lamplighter_protocols.topics import Channel

LINK = {"kind": "cellular", "day": "2026-11-25", "up": 3_200_000, "down": 1_000_000, "budget_bytes": 5_000_000}

BOOT = "01M85BZKKV0000000000000000"


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


@pytest.mark.parametrize(("language", "words"), [("en", "not said since the hub started"), ("zh", "尚未报告链路用量")])
def test_what_a_restarted_hub_does_not_know_is_not_shown_as_nothing(
    empty_street: Street, language: str, words: str
) -> None:
    city, agent = empty_street, "pole-1"
    city.enrol(agent, {"air-1": "air-station"})
    visitor = sign_in(city, language=language)

    def head() -> str:
        return read(visitor.get("/devices/air-1/head").text).one(id="device-head").text

    assert words not in head(), "who never counts is not waited for"
    birth = {"session": 2, "boot": BOOT, "heard_within_s": 30, "sent": city.now(), "agent_version": "0.1.0"}
    city.say(agent, Channel.BIRTH, birth | {"devices": [{"id": "air-1", "profile": "air-station"}]})
    assert words in head()
    say(city, agent, 2)
    assert words not in head()
