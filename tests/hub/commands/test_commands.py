from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.registry.rig import OPERATOR, VIEWER, Rig, calling, rig
from lamplighter_hub.commands.service import Request
from lamplighter_hub.errors import Forbidden, Invalid, TooMany
from lamplighter_protocols.commands import Cancel, Command, CommandState, transition
from lamplighter_protocols.errors import IllegalTransition
from lamplighter_protocols.presence import Presence
from lamplighter_protocols.records import ResultRecord

SWITCH = "/api/v1/devices/lamp-1/commands"


def switch(**more: Any) -> Request:
    return Request(device="lamp-1", name="switch", args={"on": True}, **more)


def result(command: str, state: str, t: int, device: str = "lamp-1", **more: Any) -> ResultRecord:
    return ResultRecord(device=device, command=command, state=CommandState(state), t=t, **more)


def say(made: Rig, command: str, *states: str, agent: str = "agent-1", **more: Any) -> None:
    for state in states:
        made.clock.forward(1)
        made.hub.commands.results([(agent, result(command, state, made.clock(), **more), made.clock())])


def away(made: Rig, session: int = 1) -> None:
    made.hub.presence.told("agent-1", Presence(state="offline", session=session), made.clock.forward(1))
    made.hub.presence.flush()


def test_the_four_facts_of_a_command(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        answer = client.post(SWITCH, json={"name": "switch", "args": {"on": True}, "expires_in_s": 30})
        assert answer.status_code == 202, answer.text
        command = answer.json()
        assert (command["state"], command["args"]) == ("sent", {"on": True, "level": 100})
        ((address, document),) = made.down.take()
        assert isinstance(document, Command)
        assert (address.agent, address.device, document.id) == ("agent-1", "lamp-1", command["id"])
        assert document.expires_at == made.clock() + 30_000
        accepted = made.clock()
        say(made, command["id"], "received", "running")
        say(made, command["id"], "succeeded", data={"lit": True})
        shown = client.get(f"/api/v1/commands/{command['id']}").json()
        times = [shown[f"{fact}_at"] - accepted for fact in ("accepted", "sent", "received", "started", "finished")]
        assert times == [0, 0, 1000, 2000, 3000]
        assert (shown["state"], shown["data"], shown["overdue"]) == ("succeeded", {"lit": True}, False)
        made.hub.commands.tick(made.clock.forward(100))
        assert made.down.take() == []


def test_arguments_are_checked_against_the_profile(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        for body, fields in (
            ({"name": "switch", "args": {"on": 1, "level": 200, "hue": 3}}, {"args.on", "args.level", "args.hue"}),
            ({"name": "switch"}, {"args.on"}),
            ({"name": "explode"}, {"name"}),
            ({"name": "switch", "args": {"on": True}, "expires_in_s": 601}, {"expires_in_s"}),
            ({"name": "switch", "args": {"on": True}, "expires_in_s": 0}, {"expires_in_s"}),
            ({"name": "cut_power"}, {"reason"}),
            ({"name": "switch", "args": {"on": True}, "extra": 1}, {"extra"}),
        ):
            answer = client.post(SWITCH, json=body)
            assert answer.status_code == 422, body
            assert {error["field"] for error in answer.json()["errors"]} == fields
        assert client.post("/api/v1/devices/lamp-2/commands", json={"name": "switch"}).status_code == 404
        assert made.down.sent == []


def test_who_may_command(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        with pytest.raises(Forbidden):
            made.hub.commands.create(switch(), VIEWER)
        cut = Request(device="lamp-1", name="cut_power", args={})
        with pytest.raises(Invalid, match="dangerous"):
            made.hub.commands.create(cut, OPERATOR)
        sent = made.hub.commands.create(cut._replace(purpose="fire"), OPERATOR)
        assert (sent.hazard, sent.purpose, sent.issuer) == ("dangerous", "fire", "token operator")


def test_the_same_key_is_the_same_command(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        body = {"name": "switch", "args": {"on": True}}
        key = {"Idempotency-Key": "tap-1"}
        first = client.post(SWITCH, json=body, headers=key).json()
        made.clock.forward(5)
        assert client.post(SWITCH, json=body, headers=key).json()["id"] == first["id"]
        other = client.post(SWITCH, json=body | {"lease_s": 5}, headers=key)
        assert (other.status_code, other.json()["type"]) == (409, "urn:lamplighter:problem:idempotency_conflict")
        assert client.post(SWITCH, json=body).json()["id"] != first["id"]
        assert len(made.down.take()) == 2


def test_a_double_tap_from_many_threads_sends_once(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        ids = []
        barrier = threading.Barrier(8)

        def tap() -> None:
            barrier.wait()
            ids.append(made.hub.commands.create(switch(), OPERATOR, "tap").id)

        threads = [threading.Thread(target=tap) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 1
        assert len(made.down.take()) == 1


def test_a_command_for_an_absent_device_expires_and_the_agent_is_told_once(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        away(made)
        command = made.hub.commands.create(switch(expires_in_s=5), OPERATOR)
        made.hub.commands.tick(made.clock.forward(4.9))
        assert made.hub.commands.find(command.id).state == "queued"
        made.hub.commands.tick(made.clock.forward(0.1))
        expired = made.hub.commands.find(command.id)
        assert (expired.state, expired.sent_at, expired.finished_at) == ("expired", None, made.clock())
        assert made.down.take() == []
        made.crash()
        made.birth("agent-1", ["lamp-1"], session=2)
        ((_, told),) = made.down.take()
        assert isinstance(told, Command)
        assert (told.id, told.expired(made.clock())) == (command.id, True)
        say(made, command.id, "expired")
        made.birth("agent-1", ["lamp-1"], session=3)
        made.crash()
        made.birth("agent-1", ["lamp-1"], session=4)
        assert made.down.take() == []
        assert made.hub.commands.find(command.id).finished_at == expired.finished_at
        say(made, command.id, "succeeded")
        assert made.hub.commands.find(command.id).state == "expired"
        assert made.hub.commands.counts["illegal_transition"] == 1


def test_a_command_that_was_sent_is_repeated_also_after_its_expiry(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        command = made.hub.commands.create(switch(expires_in_s=5), OPERATOR)
        seen = []
        for second in range(1, 70):
            made.down.sent.clear()
            made.hub.commands.tick(made.clock.forward(1))
            seen += [second] * len(made.down.sent)
        assert seen == [2, 6, 14, 30, 60]
        waiting = made.hub.commands.find(command.id)
        assert (waiting.state, made.hub.commands.overdue(waiting)) == ("sent", True)
        say(made, command.id, "expired")
        assert made.hub.commands.find(command.id).state == "expired"


def test_a_restarted_hub_goes_on_and_a_birth_sends_at_once(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        away(made)
        queued = made.hub.commands.create(switch(expires_in_s=300), OPERATOR)
        made.crash()
        made.hub.commands.tick(made.clock.forward(1))
        assert made.down.take() == []
        made.birth("agent-1", ["lamp-1"], session=2)
        assert made.down.names() == [f"command {queued.id}"]
        made.crash()
        made.hub.commands.tick(made.clock.forward(1))
        assert made.down.names() == [f"command {queued.id}"]
        say(made, queued.id, "received")
        made.hub.commands.tick(made.clock.forward(60))
        assert made.down.names() == [], "it is there, the result comes by itself"
        made.hub.commands.tick(made.clock.forward(600))
        assert made.down.names() == [f"command {queued.id}"], "unless it was given up for lack of room"


def test_cancel(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        away(made)
        unsent = made.hub.commands.create(switch(), OPERATOR)
        answer = client.post(f"/api/v1/commands/{unsent.id}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
        assert client.post(f"/api/v1/commands/{unsent.id}/cancel").status_code == 202
        made.birth("agent-1", ["lamp-1"], session=2)
        assert made.down.take() == [], "it never leaves the hub"
        sent = made.hub.commands.create(switch(), OPERATOR)
        assert client.post(f"/api/v1/commands/{sent.id}/cancel").json()["state"] == "sent"
        documents = [document for _, document in made.down.take()]
        assert [type(document) for document in documents] == [Command, Cancel]
        made.hub.commands.tick(made.clock.forward(3))
        assert made.down.names() == [f"cancel {sent.id}"]
        say(made, sent.id, "cancelled")
        made.hub.commands.tick(made.clock.forward(300))
        assert made.down.names() == []
        done = made.hub.commands.create(switch(), OPERATOR)
        say(made, done.id, "succeeded")
        refused = client.post(f"/api/v1/commands/{done.id}/cancel")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:lamplighter:problem:command_finished")
        assert client.post("/api/v1/commands/01M80T5JNV0000000000000000/cancel").status_code == 404


def test_results_that_cannot_be_are_counted(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1", "lamp-2")
        made.hub.enrolment.provision(["agent-2"], "test")
        command = made.hub.commands.create(switch(), OPERATOR)
        say(made, command.id, "succeeded", agent="agent-2")
        say(made, command.id, "succeeded", device="lamp-2")
        say(made, "01M80T5JNV0000000000000000", "succeeded")
        assert made.hub.commands.counts == {"foreign_command": 2, "unknown_command": 1}
        assert made.hub.commands.find(command.id).state == "sent"


def test_open_commands_are_bounded(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        for _ in range(100):
            made.hub.commands.create(switch(), OPERATOR)
        with pytest.raises(TooMany):
            made.hub.commands.create(switch(), OPERATOR)


def test_waiting_for_the_end_of_a_command(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        command = made.hub.commands.create(switch(), OPERATOR)
        begun = time.monotonic()
        assert client.get(f"/api/v1/commands/{command.id}", params={"wait_s": 0.2}).json()["state"] == "sent"
        assert time.monotonic() - begun >= 0.2

        def answer() -> None:
            say(made, command.id, "received", "running", "succeeded")

        timer = threading.Timer(0.3, answer)
        timer.start()
        shown = client.get(f"/api/v1/commands/{command.id}", params={"wait_s": 60}).json()
        timer.join()
        assert shown["state"] == "succeeded"
        assert time.monotonic() - begun < 20


def test_lists_are_paged_newest_first(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1", "lamp-2")
        ids = []
        for number in range(7):
            made.clock.forward(1)
            ids.append(made.hub.commands.create(switch()._replace(device=f"lamp-{1 + number % 2}"), OPERATOR).id)
        say(made, ids[0], "succeeded")
        found, cursor = [], ""
        while cursor is not None:
            page = client.get("/api/v1/commands", params={"limit": 2, "cursor": cursor, "device": "lamp-1"}).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert found == ids[::-2]
        done = client.get("/api/v1/commands", params={"state": "succeeded"}).json()["items"]
        assert [item["id"] for item in done] == ids[:1]


STATES = [state for state in CommandState if state is not CommandState.QUEUED]


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A hub with a lamp, for as many commands as one likes."""
    with rig(tmp_path_factory.mktemp("hub")) as made:
        made.street("lamp-1")
        yield made


@settings(max_examples=80, deadline=None)
@given(reports=st.lists(st.sampled_from(STATES), max_size=8), again=st.integers(1, 3))
def test_reports_follow_the_one_transition_function_and_repeating_them_changes_nothing(
    lit: Rig, reports: list[CommandState], again: int
) -> None:
    lit.hub.commands.tick(lit.clock.forward(3_600))  # those of before are over
    commands, before = lit.hub.commands, lit.hub.commands.counts["illegal_transition"]
    command = commands.create(switch(), OPERATOR)
    expected, illegal = CommandState.SENT, 0
    batch = []
    for number, state in enumerate(reports):
        batch.append(("agent-1", result(command.id, state.value, lit.clock() + number), 0))
    for one in batch:
        commands.results([one])
        try:
            expected = transition(expected, one[1].state)
        except IllegalTransition:
            illegal += 1
    row = commands.find(command.id)
    assert row.state == expected
    assert commands.counts["illegal_transition"] == before + illegal
    for _ in range(again):
        commands.results(batch)
    after = commands.find(command.id)
    for fact in ("state", "received_at", "started_at", "finished_at", "data", "reason"):
        assert getattr(after, fact) == getattr(row, fact)
