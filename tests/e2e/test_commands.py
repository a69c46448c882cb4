"""A command happens at most once, in time, or is reported as not done: through real processes and a real kiosk face."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lamplighter_protocols.topics import Channel, build
from services.agent import PROGRAM, Agent
from services.brokers import BrokerOwner
from services.hub import Hub
from services.process import Children
from services.sim import street
from services.wait import eventually

KIOSK = "kiosk-1"
AGENT = "town-hall"


@pytest.fixture
def town_hall(hub: Hub, tmp_path: Path, children: Children) -> Agent:
    """The street's kiosk agent, enrolled and online."""
    described = street(children, tmp_path / "street")
    config = next(Path(agent["config"]) for agent in described["agents"] if agent["id"] == AGENT)
    agent = Agent(AGENT, config.parent, children).enroll(hub).start()
    eventually(lambda: hub.device(KIOSK).get("state") == "online", within_s=20)
    return agent


def send(hub: Hub, name: str, *, expires_in_s: int = 60, key: str = "", **args: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"name": name, "args": args, "expires_in_s": expires_in_s}
    command: dict[str, Any] = hub.post(f"devices/{KIOSK}/commands", body, headers=headers)
    return command


def ended(hub: Hub, command: dict[str, Any], within_s: float = 30) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = hub.get(f"commands/{command['id']}")
        return found if found["finished_at"] else None

    return eventually(look, within_s=within_s) or {}


def test_a_command_comes_back_with_its_result(hub: Hub, town_hall: Agent) -> None:
    sent = send(hub, "lock", message="back soon")
    done = ended(hub, sent)

    assert done["state"] == "succeeded"
    assert done["accepted_at"] <= done["received_at"] <= done["started_at"] <= done["finished_at"]
    eventually(lambda: hub.latest(KIOSK).get("ui_state") == "locked", within_s=20)


def test_the_same_idempotency_key_is_one_command(hub: Hub, town_hall: Agent) -> None:
    first, second = (send(hub, "unlock", key="tap-1") for _ in range(2))

    assert first["id"] == second["id"]
    assert ended(hub, first)["state"] == "succeeded"


def test_a_command_for_an_offline_device_expires_on_both_sides(hub: Hub, town_hall: Agent) -> None:
    town_hall.running.kill()
    eventually(lambda: hub.device(KIOSK).get("state") == "offline", within_s=20)
    sent = send(hub, "lock", expires_in_s=5)
    due = time.time() + 6

    eventually(lambda: time.time() > due, within_s=10)
    town_hall.start()
    eventually(lambda: hub.device(KIOSK).get("state") == "online", within_s=20)

    assert ended(hub, sent)["state"] == "expired"
    eventually(lambda: sent["id"] in journal(town_hall) and "expired" in journal(town_hall), within_s=20)
    assert hub.latest(KIOSK).get("ui_state") != "locked"


def test_a_command_delivered_twice_with_a_restart_between_runs_once(hub: Hub, town_hall: Agent) -> None:
    topic = build(AGENT, Channel.COMMAND, KIOSK)
    with BrokerOwner(hub) as owner:
        owner.listen(topic)
        done = ended(hub, send(hub, "print_test_page", copies=1))
        assert done["state"] == "succeeded"
        token = eventually(lambda: owner.heard)[-1][1]
    printed = pages(hub)

    town_hall.running.kill()
    town_hall.start()
    eventually(lambda: hub.device(KIOSK).get("state") == "online", within_s=20)
    with BrokerOwner(hub) as owner:
        owner.say(topic, token)
    after = ended(hub, send(hub, "unlock"))

    assert after["state"] == "succeeded", "the agent has dealt with what was said before"
    assert pages(hub) == printed
    assert journal(town_hall).count(done["id"]) == 1


@pytest.mark.parametrize("forgery", ["unsigned", "altered", "foreign"])
def test_what_the_hub_did_not_sign_for_this_agent_is_refused_and_counted(
    hub: Hub, town_hall: Agent, forgery: str
) -> None:
    with BrokerOwner(hub) as owner:
        owner.listen(build(AGENT, Channel.COMMAND, KIOSK))
        assert ended(hub, send(hub, "unlock"))["state"] == "succeeded"
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

    def refused() -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = hub.get("events", name="downlink_refused")["items"]
        return events

    assert eventually(refused, within_s=30)[0]["data"]["count"] >= 1
    assert hub.latest(KIOSK).get("ui_state") != "locked"


def pages(hub: Hub) -> int:
    return len(hub.get("events", device=KIOSK, name="test_page_printed")["items"])


def journal(agent: Agent) -> str:
    """What the agent itself says of its commands."""
    done = subprocess.run(
        [PROGRAM, "status", "--config", agent.config, "--json"], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout
