"""What nobody should send, ten thousand times over: each is refused by name, nothing breaks, good traffic goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lamplighter_hub.series.duckdb import Limits
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.topics import Channel, build
from services.counting import Writer, assert_exact, counting_agent
from services.hub import Hub
from services.junk import MAKERS, NAMING, PROFILE, Junk, Sender, batch, birth, make, readings, topic
from services.junk_http import Asked, bad_bodies, bad_commands, bad_configurations
from services.mqtt import Plain, plain
from services.process import Children
from services.wait import eventually

pytestmark = pytest.mark.timeout(300)

SEED: Final = 20_260_101
OF_EACH: Final = 1_100
"""Payloads of each of the ten kinds."""
BODIES: Final = 1_600
CONFIGURATIONS: Final = 300
COMMANDS: Final = 300
LINES_A_STEP: Final = 4


@contextlib.contextmanager
def good_traffic(hub: Hub, folder: Path, children: Children, name: str) -> Iterator[str]:
    """Let an agent report meanwhile; give its device, and fail afterwards unless all of it is stored exactly."""
    writer = Writer(folder / f"{name}.csv", name, LINES_A_STEP)
    counting_agent(hub, folder / name, children, writer)
    writer.start()
    eventually(lambda: hub.device(name).get("state") == "online", within_s=30)
    eventually(lambda: count(hub, name) > 0, within_s=30)
    before = count(hub, name)
    yield name
    assert count(hub, name) > before, "it was stored while the bad input came"
    writer.finish()
    eventually(lambda: count(hub, name) == writer.lines - 1, within_s=30)
    assert_exact(hub, writer)


def count(hub: Hub, device: str) -> float:
    """Return the newest number of a counter."""
    found: float = hub.latest(device).get("count", 0)
    return found


@pytest.fixture
def whole(hub: Hub) -> Iterator[Hub]:
    """The hub, which must come out of the test as it went in."""
    pid, printed = hub.running.pid, len(hub.running.said())
    yield hub
    assert (hub.running.pid, hub.running.running) == (pid, True)
    assert httpx.get(f"{hub.url}/healthz").json() == {"status": "ok"}
    said = hub.running.said()[printed:]
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:4_000]
    parts = hub.get("status")["parts"]
    assert parts["ingest"].get("failures", 0) == 0
    assert parts["series"]["quarantined"] <= Limits().quarantine_rows
    assert parts["series"]["quarantined_bytes"] <= Limits().quarantine_bytes


def test_ten_thousand_bad_payloads(whole: Hub, tmp_path: Path, children: Children) -> None:
    hub = whole
    with good_traffic(hub, tmp_path, children, "steady") as device:
        for kind in MAKERS:
            sender = Sender(f"bad-{kind}", f"bad-{kind}-air", device)
            password = hub.post("agents", {"agents": [{"id": sender.agent}]})["items"][0]["password"]
            with plain(hub.mqtt_port, sender.agent, password) as client:
                client.client.max_inflight_messages_set(500)
                assert client.connect() == "Success"
                client.publish(build(sender.agent, Channel.BIRTH), json.dumps(birth(sender, 1)))
                eventually(lambda device=sender.device: hub.device(device).get("state") == "online", within_s=30)  # type: ignore[misc]
                refuses(hub, kind, sender, client)
                takes_what_is_good(hub, sender, client)


def test_a_device_that_stays_unknown_is_set_aside(whole: Hub) -> None:
    """Records may overtake a birth, so the hub waits; an agent sends again what is not confirmed."""
    hub = whole
    sender = Sender("lonely", "lonely-air", "")
    password = hub.post("agents", {"agents": [{"id": sender.agent}]})["items"][0]["password"]
    with plain(hub.mqtt_port, sender.agent, password) as client:
        assert client.connect() == "Success"
        again = json.dumps(batch(1, readings(sender.device)))

        def set_aside() -> list[dict[str, Any]]:
            client.publish(build(sender.agent, Channel.BATCH), again, qos=0)
            return everything(hub, "quarantine", agent=sender.agent)

        entry = eventually(set_aside, within_s=30)[0]
    assert (entry["reason"], entry["field"], entry["device"]) == ("unknown_device", "device", sender.device)
    assert hub.get(f"ledger/{sender.agent}")["items"][0]["quarantined"] == 1


def refuses(hub: Hub, kind: str, sender: Sender, client: Plain) -> None:
    """Send bad payloads of one kind: each must be set aside with a reason, and a field where there are fields."""
    before = quarantined(hub)
    publish_all(client, sender, make(kind, sender, OF_EACH, SEED))
    eventually(lambda: quarantined(hub) - before >= OF_EACH, within_s=40)

    entries = everything(hub, "quarantine", agent=sender.agent)
    assert len(entries) >= OF_EACH
    for entry in entries:
        assert entry["reason"], entry
        assert entry["detail"], entry
        assert entry["field"] or kind not in NAMING, entry
        assert "internal_error" not in entry["reason"], entry


def publish_all(client: Plain, sender: Sender, messages: list[Junk]) -> None:
    sent = [client.client.publish(topic(sender.agent, tail), payload, qos=1) for tail, payload in messages]
    for info in sent:
        info.wait_for_publish(30)
    assert not client.gone.is_set()


def takes_what_is_good(hub: Hub, sender: Sender, client: Plain) -> None:
    """Who has sent rubbish is still heard."""
    client.publish(build(sender.agent, Channel.SENML, sender.device), '[{"n":"rh","u":"%RH","v":50}]')
    eventually(lambda: hub.latest(sender.device).get("rh") == 50, within_s=30)


def quarantined(hub: Hub) -> int:
    total: int = hub.get("status")["parts"]["ingest"].get("quarantined", 0)
    return total


def everything(hub: Hub, path: str, **parameters: Any) -> list[dict[str, Any]]:
    """Return all pages of a list."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = hub.get(path, limit=1000, **parameters, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        cursor = page["next"]
    return found


@pytest.fixture
def air(hub: Hub) -> Iterator[str]:
    """A device that can be configured and told something."""
    sender = Sender("patient", "patient-air", "")
    password = hub.post("agents", {"agents": [{"id": sender.agent}]})["items"][0]["password"]
    with plain(hub.mqtt_port, sender.agent, password) as client:
        assert client.connect() == "Success"
        client.publish(build(sender.agent, Channel.BIRTH), json.dumps(birth(sender, 1)))
        eventually(lambda: hub.device(sender.device).get("state") == "online")
        yield sender.device
    hub.api("DELETE", f"agents/{sender.agent}")


def test_thousands_of_bad_bodies_configurations_and_commands(
    whole: Hub, air: str, tmp_path: Path, children: Children
) -> None:
    hub = whole
    profile = load_profiles()[PROFILE]
    before = hub.get(f"devices/{air}/configuration")
    with (
        good_traffic(hub, tmp_path, children, "even"),
        httpx.Client(base_url=f"{hub.url}/api/v1", headers={"Authorization": f"Bearer {hub.token}"}, timeout=30) as api,
    ):
        for asked in bad_configurations(air, profile, CONFIGURATIONS, SEED):
            assert refused(api, asked)["status"] == 422
        for asked in bad_commands(air, profile, COMMANDS, SEED):
            refused(api, asked)
        document = api.get("/openapi.json").json()
        for asked in bad_bodies(document, air, BODIES, SEED):
            refused(api, asked)
    assert hub.get(f"devices/{air}/configuration") == before
    assert hub.get("commands", device=air)["items"] == []


def refused(api: httpx.Client, asked: Asked) -> dict[str, Any]:
    """Send a bad request; return the problem that says what is wrong with it."""
    method, path, headers, body, odd = asked
    answer = api.request(method, path, headers=headers, content=body)
    about = f"{method} {path} {headers} {body[:300]!r}: {answer.status_code} {answer.text[:500]}"
    if odd and answer.is_success:
        return {}
    assert 400 <= answer.status_code < 500, about
    assert answer.headers["content-type"] == "application/problem+json", about
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code, about
    assert problem["title"], about
    assert problem["detail"], about
    if answer.status_code == 422:
        assert problem["errors"], about
        assert all(error["field"] and error["detail"] for error in problem["errors"]), about
    return problem
