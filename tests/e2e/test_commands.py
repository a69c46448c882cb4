"""A command happens at most once, in time, or is reported as not done: through real processes and a real kiosk face."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lamplighter_protocols.topics import Channel, build
from services.brokers import BrokerOwner
from services.hub import Hub
from services.kiosk import AGENT, KIOSK, Kiosk, kiosk_on
from services.process import Children
from services.wait import eventually


@pytest.fixture(scope="module")
def shared_kiosk(shared_hub: Hub, place: Path, lasting: Children) -> Kiosk:
    return kiosk_on(shared_hub, place / "street", lasting)


@pytest.fixture
def kiosk(hub: Hub, shared_kiosk: Kiosk) -> Kiosk:
    """The kiosk, online and open."""
    shared_kiosk.present()
    assert shared_kiosk.ended(shared_kiosk.send("unlock"))["state"] == "succeeded"
    eventually(lambda: hub.latest(KIOSK).get("ui_state") != "locked", within_s=20)
    return shared_kiosk


def test_a_command_comes_back_with_its_result(hub: Hub, kiosk: Kiosk) -> None:
    done = kiosk.ended(kiosk.send("lock", message="back soon"))

    assert done["state"] == "succeeded"
    assert done["accepted_at"] <= done["received_at"] <= done["started_at"] <= done["finished_at"]
    # Whoever is using the kiosk finishes first, which may take a minute.
    shown = {"in_session", "locked"} if done["data"]["after_session"] else {"locked"}
    eventually(lambda: hub.latest(KIOSK).get("ui_state") in shown, within_s=20)


def test_the_same_idempotency_key_is_one_command(kiosk: Kiosk) -> None:
    first, second = (kiosk.send("unlock", key="tap-1") for _ in range(2))

    assert first["id"] == second["id"]
    assert kiosk.ended(first)["state"] == "succeeded"


def test_a_command_for_an_offline_device_expires_on_both_sides(hub: Hub, kiosk: Kiosk) -> None:
    kiosk.away()
    sent = kiosk.send("lock", expires_in_s=5)
    due = time.time() + 6

    eventually(lambda: time.time() > due, within_s=10)
    kiosk.present()

    assert kiosk.ended(sent)["state"] == "expired"
    eventually(lambda: journal(kiosk).get(sent["id"]) == "expired", within_s=20)
    assert hub.latest(KIOSK).get("ui_state") != "locked"


def test_a_command_delivered_twice_with_a_restart_between_runs_once(hub: Hub, kiosk: Kiosk) -> None:
    topic = build(AGENT, Channel.COMMAND, KIOSK)
    with BrokerOwner(hub) as owner:
        owner.listen(topic)
        done = kiosk.ended(kiosk.send("print_test_page", copies=1))
        assert done["state"] == "succeeded"
        token = eventually(lambda: owner.heard)[-1][1]
    printed = pages(hub)

    kiosk.away()
    kiosk.present()
    with BrokerOwner(hub) as owner:
        owner.say(topic, token)
    after = kiosk.ended(kiosk.send("unlock"))

    assert after["state"] == "succeeded", "the agent has dealt with what was said before"
    assert pages(hub) == printed
    assert journal(kiosk)[done["id"]] == "succeeded"


@pytest.mark.parametrize("forgery", ["unsigned", "altered", "foreign"])
def test_what_the_hub_did_not_sign_for_this_agent_is_refused_and_counted(hub: Hub, kiosk: Kiosk, forgery: str) -> None:
    kiosk.away()
    kiosk.present()  # an agent tells of the first refusal of each kind since its start
    before = len(refused(hub))
    with BrokerOwner(hub) as owner:
        owner.listen(build(AGENT, Channel.COMMAND, KIOSK))
        assert kiosk.ended(kiosk.send("unlock"))["state"] == "succeeded"
        token = eventually(lambda: owner.heard)[-1][1]

    head, body, signature = token.split(b".")
    payload = {
        "unsigned": b'{"type":"command","name":"lock"}',
        "altered": head + b"." + body[:-4] + (b"AAAA" if body[-4:] != b"AAAA" else b"BBBB") + b"." + signature,
        "foreign": token,
    }[forgery]
    topic = build(AGENT, Channel.COMMAND, "kiosk-2" if forgery == "foreign" else KIOSK)
    with BrokerOwner(hub) as owner:
        owner.say(topic, payload)

    eventually(lambda: len(refused(hub)) > before, within_s=30)
    assert refused(hub)[0]["data"]["count"] >= 1
    assert hub.latest(KIOSK).get("ui_state") != "locked"


def refused(hub: Hub) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = hub.get("events", name="downlink_refused")["items"]
    return events


def pages(hub: Hub) -> int:
    return len(hub.get("events", device=KIOSK, name="test_page_printed")["items"])


def journal(kiosk: Kiosk) -> dict[str, str]:
    """The states of the commands that the agent itself remembers; it keeps an id once."""
    entries = kiosk.told()["commands"]
    found = {entry["id"]: entry["state"] for entry in entries}
    assert len(found) == len(entries)
    return found
