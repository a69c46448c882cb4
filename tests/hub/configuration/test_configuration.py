from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.registry.rig import Rig, calling, rig
from lamplighter_hub.errors import Invalid
from lamplighter_protocols.configuration import Desired, document_hash
from lamplighter_protocols.presence import Presence
from lamplighter_protocols.records import ReportedRecord

DEFAULTS = {"interval_s": 10, "dimmed": False}


def report(made: Rig, wanted: dict[str, Any], version: int, state: str = "applied", **more: Any) -> ReportedRecord:
    fields = {
        "device": "lamp-1",
        "version": version,
        "hash": document_hash(wanted),
        "state": state,
        "t": made.clock(),
        "document": wanted,
    }
    return ReportedRecord.model_validate_json(json.dumps(fields | more))


def sent(made: Rig) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for address, document in made.down.take():
        assert isinstance(document, Desired)
        assert (address.agent, address.device) == (document.agent, document.device)
        assert document.hash == document_hash(document.document)
        found.append((document.version, document.document))
    return found


def away(made: Rig, session: int = 1) -> None:
    made.hub.presence.told("agent-1", Presence(state="offline", session=session), made.clock.forward(1))


def test_what_is_wrong_is_refused_field_by_field_and_nothing_is_sent(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        bad = {"interval_s": 0.1, "label": 5, "dimmed": "yes", "colour": "red", "tint": None}
        answer = client.put("/api/v1/devices/lamp-1/configuration", json={"document": bad})
        assert answer.status_code == 422
        problem = answer.json()
        assert {error["field"] for error in problem["errors"]} == set(bad)
        assert "below 0.5" in {error["field"]: error["detail"] for error in problem["errors"]}["interval_s"]
        assert sent(made) == []
        assert client.get("/api/v1/devices/lamp-1/configuration").json()["desired"]["version"] == 0


def test_valid_is_sent_signed_repeated_until_reported_and_shown(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        answer = client.put("/api/v1/devices/lamp-1/configuration", json={"document": {"interval_s": 5}})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["desired"]["version"]) == ("pending", 1)
        document = DEFAULTS | {"interval_s": 5}
        assert sent(made) == [(1, document)]
        repeats = []
        for second in range(1, 100):
            made.hub.configuration.tick(made.clock.forward(1))
            if sent(made):
                repeats.append(second)
        assert repeats == [2, 6, 14, 30, 60, 90]
        made.hub.configuration.reported([("agent-1", report(made, document, 1), made.clock())])
        made.hub.configuration.tick(made.clock.forward(100))
        assert sent(made) == []
        shown = client.get("/api/v1/devices/lamp-1/configuration").json()
        assert (shown["state"], shown["difference"], shown["set"]) == ("applied", [], {"interval_s": 5})
        history = client.get("/api/v1/devices/lamp-1/configuration/history").json()["items"]
        assert [(item["kind"], item["version"], item["state"]) for item in history] == [
            ("reported", 1, "applied"),
            ("set", 1, ""),
        ]
        assert history[1]["who"] == "token test administrator"


def test_five_changes_while_offline_become_the_last_one_only(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        away(made)
        for interval in range(1, 6):
            made.hub.configuration.put("lamp-1", {"interval_s": interval}, "test")
            made.hub.configuration.tick(made.clock.forward(1))
        assert sent(made) == []
        made.crash()
        made.birth("agent-1", ["lamp-1"], session=2)
        assert sent(made) == [(5, DEFAULTS | {"interval_s": 5})]
        digest = document_hash(DEFAULTS | {"interval_s": 5})
        made.birth("agent-1", [("lamp-1", 5, digest)], session=3)
        made.hub.configuration.tick(made.clock.forward(100))
        assert sent(made) == [], "the birth shows that it runs"


def test_how_long_a_change_waits_for_the_hub_is_asked_for_kept_and_sent(tmp_path: Path, registry_url: str) -> None:
    path = "/api/v1/devices/lamp-1/configuration"
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        for wrong in (4, 86_401, "soon", None):
            answer = client.put(path, json={"document": {"interval_s": 5}, "rollback_after_s": wrong})
            assert answer.status_code == 422
            assert [error["field"] for error in answer.json()["errors"]] == ["rollback_after_s"]
        assert client.put(path, json={"document": {"interval_s": 5}}).json()["desired"]["rollback_after_s"] == 300
        answer = client.put(path, json={"document": {"interval_s": 6}, "rollback_after_s": 20})
        assert answer.json()["desired"]["rollback_after_s"] == 20
        made.crash()
        made.down.take()
        made.birth("agent-1", ["lamp-1"], session=2)
        made.hub.configuration.tick(made.clock.forward(100))
        documents = [document for _, document in made.down.take() if isinstance(document, Desired)]
        assert {document.rollback_after_s for document in documents} == {20}, "repeated as it was"


def test_a_refused_document_is_not_repeated_but_may_be_set_again(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.configuration.put("lamp-1", {"interval_s": 5}, "test")
        wanted = DEFAULTS | {"interval_s": 5}
        refusal = report(
            made,
            wanted,
            1,
            "rejected",
            document={},
            errors=[{"field": "interval_s", "detail": "too fast"}],
            reason="no",
        )
        made.hub.configuration.reported([("agent-1", refusal, made.clock())])
        made.down.sent.clear()
        made.birth("agent-1", ["lamp-1"], session=2)
        made.hub.configuration.tick(made.clock.forward(100))
        assert sent(made) == []
        assert made.hub.configuration.versions(["lamp-1"])["lamp-1"] == (1, 1, "rejected")
        made.hub.configuration.put("lamp-1", {"interval_s": 5}, "test")
        assert sent(made) == [(2, wanted)]
        made.hub.configuration.put("lamp-1", {"interval_s": 5}, "test")
        assert sent(made) == [], "nothing new"


def test_a_document_that_was_rolled_back_shows_the_difference(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.configuration.put("lamp-1", {"label": "x"}, "test")
        wanted = DEFAULTS | {"label": "x"}
        made.hub.configuration.reported([("agent-1", report(made, wanted, 1), made.clock())])
        made.clock.forward(5)
        back = report(made, wanted, 1, "rolled_back", document=DEFAULTS, reason="the hub stayed away")
        made.hub.configuration.reported([("agent-1", back, made.clock())])
        view = made.hub.configuration.view("lamp-1")
        assert view.state() == "rolled_back"
        assert view.difference() == [("label", "x", None)]


def test_null_takes_a_field_back(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.configuration.put("lamp-1", {"interval_s": 5, "label": "x"}, "test")
        view = made.hub.configuration.put("lamp-1", {"interval_s": None, "label": "x"}, "test")
        assert view.desired.document == DEFAULTS | {"label": "x"}
        assert view.layer == {"label": "x"}
        with pytest.raises(Invalid, match="document"):
            made.hub.configuration.put("lamp-1", {f"f{number}": 1 for number in range(200)}, "test")


def test_a_hub_with_an_old_registry_overtakes_its_devices(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.configuration.put("lamp-1", {"interval_s": 5}, "test")
        made.down.sent.clear()
        made.birth("agent-1", [("lamp-1", 9, document_hash({"interval_s": 7}))], session=2)
        assert sent(made) == [(10, DEFAULTS | {"interval_s": 5})]


def test_a_report_of_a_foreign_agent_is_not_taken(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.enrolment.provision(["agent-2"], "test")
        made.hub.configuration.put("lamp-1", {"interval_s": 5}, "test")
        made.hub.configuration.reported([("agent-2", report(made, DEFAULTS, 1), made.clock())])
        assert made.hub.configuration.view("lamp-1").reported is None


def test_history_is_bounded(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1")
        for number in range(230):
            made.hub.configuration.put("lamp-1", {"interval_s": 1 + number}, "test")
        found, cursor = [], ""
        while cursor is not None:
            page = client.get(
                "/api/v1/devices/lamp-1/configuration/history", params={"limit": 90, "cursor": cursor}
            ).json()
            found += [item["version"] for item in page["items"]]
            cursor = page["next"]
        assert found == list(range(230, 30, -1))


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A hub whose street gets another lamp whenever one is needed."""
    with rig(tmp_path_factory.mktemp("hub")) as made:
        made.street()
        yield made


LAMPS = itertools.count(1)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(4)), again=st.lists(st.integers(0, 3), max_size=3))
def test_reports_in_any_order_and_repeated_lead_to_the_same_end(
    growing: Rig, order: list[int], again: list[int]
) -> None:
    made, lamp = growing, f"lamp-{next(LAMPS)}"
    made.birth("agent-1", [lamp])
    documents = []
    for interval in (1, 2):
        made.hub.configuration.put(lamp, {"interval_s": interval}, "test")
        documents.append(DEFAULTS | {"interval_s": interval})
    reports = []
    for version, state in itertools.product((1, 2), ("applied", "rolled_back")):
        made.clock.forward(1)
        reports.append(report(made, documents[version - 1], version, state, device=lamp))
    for number in [*order, *again]:
        made.hub.configuration.reported([("agent-1", reports[number], made.clock())])
    assert made.hub.configuration.view(lamp).state() == "rolled_back"
    history = made.hub.configuration.history(lamp, 2**62, 100)
    assert sum(change.kind == "reported" for change in history) == 4
