"""What became of what an agent sent: the sum, whether it adds up, and by how much the hub is behind."""

from __future__ import annotations

from typing import Any

import pytest

from console.conftest import sign_in
from console.html import read
from console.rig import Street
from lamplighter_protocols.topics import Channel

AGENT, DEVICE = "pole-1", "air-1"
WORDS = {
    "en": {
        "untold": "Nothing is missing as far as is known",
        "held": "(not known yet: what 1 stream still holds)",
        "whole": "Adds up, nothing is missing",
        "behind": "Adds up, 7 records behind",
        "missing": "2 records are missing",
        "sum": "12 sent by agents = 3 stored + 7 still held by agents + 2 missing",
    },
    "zh": {
        "untold": "就目前所知无缺失",
        "held": "1 条数据流的暂存量尚不可知",
        "whole": "收支相符\uff0c无缺失",
        "behind": "收支相符\uff0c尚有 7 条未送达",
        "missing": "缺失 2 条记录",
        "sum": "12 代理已发送 = 3 已存储 + 7 代理暂存 + 2 缺失",
    },
}


def beat(city: Street, outbox: str, held: int, last: int) -> None:
    """Let the agent's sign of life say what its live stream holds."""
    word: dict[str, Any] = {"outbox": outbox, "freed": {"live": 3}, "held": {"live": held}}
    word |= {"last": {"live": last}} if held else {}
    city.say(AGENT, Channel.PRESENCE, {"state": "online", "session": 1} | word)


@pytest.mark.parametrize("language", WORDS)
def test_an_agents_pages_show_whether_what_it_sent_adds_up(empty_street: Street, language: str) -> None:
    city, words = empty_street, WORDS[language]
    city.enrol(AGENT, {DEVICE: "air-station"})
    visitor = sign_in(city, language=language)

    def shown() -> list[str]:
        paths = (f"/devices/{DEVICE}", f"/devices?agent={AGENT}", f"/agents/{AGENT}/delivery")
        return [read(visitor.get(path).text).one(id="agent-delivery").text for path in paths]

    def all_say(word: str) -> bool:
        return all(words[word] in text for text in shown())

    now = city.now()
    for n in range(3):
        city.readings(AGENT, DEVICE, times=[now + n], pm25=[1.0])
    (row,) = city.hub.ledger.row(AGENT)
    assert all_say("untold")
    assert all_say("held")
    assert [cell.text for cell in read(visitor.get(f"/agents/{AGENT}/delivery").text).all("td")][4] == "\u2013"
    beat(city, row.outbox, 0, 3)
    assert all_say("whole")
    beat(city, row.outbox, 7, 10)
    assert all_say("behind")
    beat(city, row.outbox, 7, 12)
    assert all_say("missing")
    assert all_say("sum")
    overview = read(visitor.get("/overview/delivery").text).one(id="delivery")
    assert words["sum"] in overview.text
    assert [link.get("href") for link in overview.all("a")] == [f"/devices?agent={AGENT}"]


def test_what_did_not_arrive_is_not_called_missing_while_its_agent_may_still_hold_it(empty_street: Street) -> None:
    city = empty_street
    city.enrol(AGENT, {DEVICE: "air-station"})
    record = {"kind": "readings", "device": DEVICE, "t": city.now(), "dt": [0], "m": {"pm25": [1.0]}}
    city.records(AGENT, [record], skip=2)
    visitor = sign_in(city, language="en")
    shown = read(visitor.get(f"/agents/{AGENT}/delivery").text).one(id="agent-delivery")
    assert WORDS["en"]["untold"] in shown.text
    assert [cell.text for cell in shown.all("td")][4:6] == ["\u2013", "\u2013"]
    overview = read(visitor.get("/overview/delivery").text).one(id="delivery").text
    assert WORDS["en"]["untold"] in overview
    (row,) = city.hub.ledger.row(AGENT)
    beat(city, row.outbox, 0, 3)
    assert WORDS["en"]["missing"] in read(visitor.get("/overview/delivery").text).one(id="delivery").text


def test_an_agent_that_sent_nothing_has_nothing_to_add_up(empty_street: Street) -> None:
    empty_street.enrol(AGENT, {DEVICE: "air-station"})
    shown = read(sign_in(empty_street).get(f"/devices/{DEVICE}").text).one(id="agent-delivery").text
    assert "This agent has not sent a record yet." in shown
