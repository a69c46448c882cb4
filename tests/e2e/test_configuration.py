"""Configuration from the API to a real kiosk and back: refused by field, reported applied, only the newest, undone."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lamplighter_hub.keys import HubKeys
from lamplighter_protocols.configuration import Desired, document_hash
from lamplighter_protocols.topics import Channel, build
from services.brokers import BrokerOwner
from services.hub import Hub
from services.kiosk import AGENT, KIOSK, Kiosk, kiosk_on
from services.process import Children
from services.wait import eventually

DESIRED = build(AGENT, Channel.DESIRED, KIOSK)
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"volume": 101}, ["volume"]),
    ({"volume": "loud", "interval_s": 0.1}, ["interval_s", "volume"]),
    ({"language": "fr"}, ["language"]),
    ({"colour": 1, "opens_at": -1}, ["colour", "opens_at"]),
    ({"volume": 1.5}, ["volume"]),
    ({"screen_brightness": True}, ["screen_brightness"]),
]


@pytest.fixture(scope="module")
def shared_kiosk(shared_hub: Hub, place: Path, lasting: Children) -> Kiosk:
    return kiosk_on(shared_hub, place / "street", lasting)


@pytest.fixture
def kiosk(hub: Hub, shared_kiosk: Kiosk) -> Kiosk:
    """The kiosk, online, with the profile's defaults in force."""
    shared_kiosk.present()
    shared_kiosk.configure({})
    shared_kiosk.answered("applied")
    return shared_kiosk


@pytest.fixture
def owner(hub: Hub) -> Iterator[BrokerOwner]:
    """Hears which documents go down."""
    with BrokerOwner(hub) as listening:
        listening.listen(DESIRED)
        yield listening


def test_what_is_wrong_is_refused_by_field_before_anything_is_sent(kiosk: Kiosk, owner: BrokerOwner) -> None:
    before = kiosk.configuration()
    for document, fields in WRONG:
        problem = kiosk.configure(document, expect=422)
        assert sorted(error["field"] for error in problem["errors"]) == fields
        assert all(error["detail"] for error in problem["errors"])
    assert kiosk.configuration() == before

    kiosk.configure({"volume": 11})
    first = eventually(lambda: owner.heard)[0][1]
    assert said(first)["version"] == before["desired"]["version"] + 1
    assert said(first)["document"]["volume"] == 11


def test_what_is_right_is_reported_applied(hub: Hub, kiosk: Kiosk) -> None:
    wanted = kiosk.configure({"volume": 33, "language": "en"})["desired"]
    assert wanted["document"]["volume"] == 33

    found = kiosk.answered("applied")
    assert found["desired"]["version"] == wanted["version"]
    assert found["reported"]["document"] == wanted["document"]
    assert (found["reported"]["version"], found["reported"]["hash"]) == (wanted["version"], wanted["hash"])
    assert found["difference"] == []
    assert found["set"] == {"volume": 33, "language": "en"}
    entries = [(entry["kind"], entry["state"]) for entry in history(kiosk, wanted["version"])]
    assert set(entries) == {("reported", "applied"), ("set", "")}
    assert entries[-1] == ("set", ""), "the newest first"
    assert hub.device(KIOSK)["configuration"]["reported_version"] == wanted["version"]


def test_five_changes_while_it_is_away_become_the_last_one(kiosk: Kiosk, owner: BrokerOwner) -> None:
    kiosk.away()
    versions = [kiosk.configure({"volume": volume})["desired"]["version"] for volume in (1, 2, 3, 4, 5)]
    assert kiosk.configuration()["state"] == "pending"
    assert owner.heard == []

    kiosk.present()
    found = kiosk.answered("applied")
    assert found["reported"]["version"] == versions[-1]
    assert found["reported"]["document"]["volume"] == 5
    assert {said(token)["version"] for _, token in owner.heard} == {versions[-1]}
    reports = [entry for version in versions for entry in history(kiosk, version) if entry["kind"] == "reported"]
    assert {(entry["version"], entry["state"]) for entry in reports} == {(versions[-1], "applied")}
    assert kiosk.agent.running.said().count(" is in force") == 1


def test_the_interval_really_changes_how_often_it_is_read(kiosk: Kiosk) -> None:
    for interval_s in (0.5, 1):
        kiosk.configure({"interval_s": interval_s})
        kiosk.answered("applied")
        begun = now_ms()

        def gaps(since: int = begun) -> list[int]:
            rows = kiosk.hub.get(f"devices/{KIOSK}/readings", metric="cpu", **{"from": since})["items"]
            return [later["t"] - earlier["t"] for earlier, later in pairwise(rows)]

        width = round(interval_s * 1000)
        # A machine that is busy may read late once; four in a row are on the grid.
        eventually(lambda width=width, gaps=gaps: in_a_row(gaps(), width) >= 4, within_s=30)  # type: ignore[misc]


def test_what_the_device_refuses_is_rolled_back_and_says_why(kiosk: Kiosk) -> None:
    kiosk.configure({"volume": 21})
    before = kiosk.answered("applied")

    kiosk.configure({"volume": 22, "opens_at": 20, "closes_at": 8})
    found = kiosk.answered("rolled_back")
    assert found["reported"]["version"] == found["desired"]["version"] == before["desired"]["version"] + 1
    assert "opens_at must be earlier than closes_at" in found["reported"]["reason"]
    assert found["reported"]["document"] == before["desired"]["document"], "what it runs is what it ran before"
    assert [part["field"] for part in found["difference"]] == ["closes_at", "opens_at", "volume"]

    kiosk.configure({"volume": 23})
    assert kiosk.answered("applied")["reported"]["document"]["volume"] == 23


def test_a_change_is_kept_when_the_hub_is_killed_right_after_it(hub: Hub, kiosk: Kiosk) -> None:
    wanted = kiosk.configure({"volume": 44})["desired"]
    hub.running.kill()
    hub.start()

    found = kiosk.answered("applied", within_s=60)
    assert found["reported"]["version"] == wanted["version"]
    # Asked again before its answer arrived, the agent answers again; it never says anything else.
    reports = [entry for entry in history(kiosk, wanted["version"]) if entry["kind"] == "reported"]
    assert {entry["state"] for entry in reports} == {"applied"}


def test_a_change_after_which_the_hub_stays_away_is_undone(hub: Hub, kiosk: Kiosk, owner: BrokerOwner) -> None:
    before = kiosk.configuration()["desired"]
    # A change still on trial would be undone with the next one: the agent goes back to what the hub has confirmed.
    eventually(lambda: kiosk.told()["configuration"][0]["before"] is None, within_s=20)
    document = {**before["document"], "volume": 55}
    change = Desired(
        agent=AGENT,
        device=KIOSK,
        version=before["version"] + 1,
        hash=document_hash(document),
        document=document,
        issued_at=now_ms(),
        rollback_after_s=5,
    )
    keys = HubKeys(hub.data)
    keys.load()
    hub.running.signal(signal.SIGSTOP)
    try:
        owner.say(DESIRED, keys.sign(change))
        eventually(lambda: in_force(kiosk)["version"] == change.version, within_s=20)
        eventually(lambda: in_force(kiosk)["version"] == before["version"], within_s=20)
    finally:
        hub.running.signal(signal.SIGCONT)

    undone = eventually(lambda: [e for e in history(kiosk, change.version) if e["state"] == "rolled_back"], 30)[0]
    assert "5 s" in undone["reason"]
    assert undone["document"] == before["document"]


def said(token: bytes) -> dict[str, Any]:
    """Read a signed document without checking it."""
    body = token.split(b".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    return found


def history(kiosk: Kiosk, version: int) -> list[dict[str, Any]]:
    entries = kiosk.hub.get(f"devices/{KIOSK}/configuration/history")["items"]
    return [entry for entry in entries if entry["version"] == version]


def in_force(kiosk: Kiosk) -> dict[str, Any]:
    """Ask the agent itself."""
    force: dict[str, Any] = kiosk.told()["configuration"][0]["force"]
    return force


def in_a_row(gaps: list[int], width: int) -> int:
    """Return the longest run of gaps of that width, 60 ms more or less."""
    longest = run = 0
    for gap in gaps:
        run = run + 1 if abs(gap - width) <= 60 else 0
        longest = max(longest, run)
    return longest


def now_ms() -> int:
    return time.time_ns() // 1_000_000
