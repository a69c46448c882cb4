from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.registry.rig import Rig, calling, rig
from lamplighter_hub.enrolment import codes
from lamplighter_hub.enrolment.refusals import MAX_ENTRIES
from lamplighter_hub.errors import Conflict, Invalid, TooMany


def code(made: Rig, agent: str | None = None, uses: int = 1) -> str:
    return made.hub.enrolment.new_code("test", agent=agent, uses=uses)[1]


def test_a_code_works_once_however_it_is_typed(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        shown = code(made)
        typed = f"  {shown.lower().replace('-', ' ')} "
        identity = made.hub.enrolment.enrol(typed, "kiosk-3", "127.0.0.1")
        assert identity.agent == "kiosk-3"
        assert made.hub.enrolment.authenticate("kiosk-3", identity.password, "kiosk-3") is None
        with pytest.raises(Invalid, match="used before"):
            made.hub.enrolment.enrol(shown, "kiosk-4", "127.0.0.1")


def test_a_code_is_taken_from_a_pasted_address() -> None:
    assert codes.normalise("https://hub.example/enrol?code=k7qf-2m9d-4hxa") == "K7QF2M9D4HXA"
    assert codes.normalise("https://hub.example/enrol/K7QF-2M9D-4HXA/") == "K7QF2M9D4HXA"


@given(
    st.text(codes.ALPHABET, min_size=codes.LENGTH - 1, max_size=codes.LENGTH - 1),
    st.integers(0, codes.LENGTH - 1),
    st.sampled_from(codes.ALPHABET),
)
def test_a_wrong_or_swapped_character_is_noticed(body: str, place: int, other: str) -> None:
    good = body + codes.check_character(body)
    assert codes.well_formed(good)
    wrong = good[:place] + other + good[place + 1 :]
    assert codes.well_formed(wrong) == (wrong == good)
    if place:
        swapped = good[: place - 1] + good[place] + good[place - 1] + good[place + 1 :]
        assert codes.well_formed(swapped) == (swapped == good)


def test_new_codes_are_well_formed_and_all_different() -> None:
    made = [codes.normalise(codes.new_code()) for _ in range(1000)]
    assert all(codes.well_formed(code) for code in made)
    assert len(set(made)) == 1000


def test_codes_expire_are_bound_and_are_stored_as_hashes_only(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        old, bound = code(made), code(made, "kiosk-3")
        with pytest.raises(Conflict, match="kiosk-3"):
            made.hub.enrolment.enrol(bound, "kiosk-4", "")
        assert made.hub.enrolment.enrol(bound, None, "").agent == "kiosk-3"
        made.clock.forward(86_401)
        with pytest.raises(Invalid):
            made.hub.enrolment.enrol(old, None, "")
        stored = b"".join(path.read_bytes() for path in tmp_path.glob("registry.sqlite*"))
        assert codes.normalise(old).encode() not in stored
        assert old.encode() not in stored


def test_an_existing_id_needs_a_code_of_its_own_and_gets_a_new_secret(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        first = made.hub.enrolment.enrol(code(made), "kiosk-3", "")
        many = code(made, uses=2)
        with pytest.raises(Conflict, match="bound"):
            made.hub.enrolment.enrol(many, "kiosk-3", "")
        assert made.hub.enrolment.enrol(many, None, "").agent.startswith("agent-"), "a refusal uses no code up"
        second = made.hub.enrolment.enrol(code(made, "kiosk-3"), None, "")
        assert made.hub.enrolment.authenticate("kiosk-3", first.password, "kiosk-3") == "wrong_password"
        assert made.hub.enrolment.authenticate("kiosk-3", second.password, "kiosk-3") is None
        assert made.broker.kicked[-1] == "kiosk-3"


def test_who_may_connect(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        (identity,) = made.hub.enrolment.provision(["kiosk-3"], "test")
        check = made.hub.enrolment.authenticate
        assert check("kiosk-3", identity.password, "kiosk-3") is None
        assert check("kiosk-3", "guess", "kiosk-3") == "wrong_password"
        assert check("kiosk-3", "", "kiosk-3") == "wrong_password"
        assert check("kiosk-4", identity.password, "kiosk-4") == "unknown_agent"
        assert check("", "", "") == "unknown_agent"
        assert check("kiosk-3", identity.password, "kiosk-4") == "foreign_client_id"
        assert check("kiosk-3", "\ud800", "kiosk-3") == "wrong_password"
        made.hub.enrolment.revoke("kiosk-3")
        assert check("kiosk-3", identity.password, "kiosk-3") == "revoked"
        assert made.broker.kicked == ["kiosk-3"]
        assert made.hub.enrolment.broker_entries() == []
        made.crash()
        assert made.hub.enrolment.authenticate("kiosk-3", identity.password, "kiosk-3") == "revoked"


def test_a_storm_of_connects_is_answered_from_memory(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        given_out = made.hub.enrolment.provision([f"a-{number}" for number in range(1000)], "test")
        begun = time.monotonic()
        for _ in range(15):
            for agent, password in given_out:
                assert made.hub.enrolment.authenticate(agent, password, agent) is None
        assert time.monotonic() - begun < 5


def test_bulk_provisioning_is_all_or_none(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.hub.enrolment.provision(["a", "b"], "test")
        with pytest.raises(Invalid) as caught:
            made.hub.enrolment.provision(["c", "b", "d", "d"], "test")
        assert [error.field for error in caught.value.errors] == ["agents.1.id", "agents.2.id", "agents.3.id"]
        assert not made.hub.enrolment.knows("c")


def test_guessing_is_slowed_down_without_harming_others(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        good = code(made)
        for _ in range(10):
            with pytest.raises(Invalid):
                made.hub.enrolment.enrol(codes.new_code(), None, "10.0.0.1")
        with pytest.raises(TooMany) as caught:
            made.hub.enrolment.enrol(good, None, "10.0.0.1")
        assert 0 < caught.value.retry_after_s <= 60
        assert made.hub.enrolment.enrol(good, "kiosk-3", "10.0.0.2").agent == "kiosk-3"
        made.clock.forward(61)
        with pytest.raises(Invalid):
            made.hub.enrolment.enrol(codes.new_code(), None, "10.0.0.1")
        refusal = made.hub.refusals.rows()[0]
        assert (refusal.who, refusal.why, refusal.count) == ("10.0.0.1", "wrong_enrolment_code", 11)


def test_refusals_are_counted_bounded_and_survive(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        for number in range(MAX_ENTRIES + 50):
            made.clock.forward(0.001)
            made.hub.refusals.record(f"stranger-{number}", "unknown_agent")
        made.hub.refusals.flush()
        for _ in range(5):
            made.hub.refusals.record("a\x00\n" + "x" * 500, "wrong_password", "z" * 999)
        made.hub.refusals.flush()
        made.crash()
        rows = made.hub.refusals.rows()
        assert len(rows) == MAX_ENTRIES
        assert rows[0].count == 5
        assert len(rows[0].who) == 100
        assert rows[0].who.isprintable()
        assert rows[1].who == f"stranger-{MAX_ENTRIES + 49}"


def test_enrolment_over_http(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        answer = client.post("/api/v1/enrolment-codes", json={"agent": "kiosk-3", "note": "hall"})
        assert answer.status_code == 201, answer.text
        made_code = answer.json()
        listed = client.get("/api/v1/enrolment-codes").json()["items"]
        assert [(item["agent"], "code" in item) for item in listed] == [("kiosk-3", False)]
        client.headers.pop("Authorization")
        enrolled = client.post("/api/v1/enrol", json={"code": made_code["code"], "agent_version": "0.1"}).json()
        assert enrolled["agent"] == enrolled["mqtt"]["username"] == "kiosk-3"
        assert enrolled["mqtt"]["url"] == "mqtt://127.0.0.1:1883"
        assert enrolled["heard_within_s"] == 30
        assert [key["kid"] for key in enrolled["hub_keys"]] == [key.kid for key in made.hub.keys.public()]
        check = made.hub.enrolment.authenticate
        assert check("kiosk-3", enrolled["mqtt"]["password"], "kiosk-3") is None
        again = client.post("/api/v1/enrol", json={"code": made_code["code"]})
        assert again.status_code == 422
        assert again.json()["errors"][0]["field"] == "code"
        assert client.get("/api/v1/agents").status_code == 401


def test_agents_over_http(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        ids = [f"a-{number:04d}" for number in range(1000)]
        answer = client.post("/api/v1/agents", json={"agents": [{"id": agent} for agent in ids]})
        assert answer.status_code == 201
        assert len({item["password"] for item in answer.json()["items"]}) == 1000
        found, cursor = [], ""
        while cursor is not None:
            page = client.get("/api/v1/agents", params={"limit": 300, "cursor": cursor}).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert found == ids
        assert client.delete("/api/v1/agents/a-0007").status_code == 204
        assert client.get("/api/v1/agents/a-0007").json()["reason"] == "revoked"
        assert client.delete("/api/v1/agents/nobody").status_code == 404
        for number in range(3):
            made.hub.refusals.record(f"stranger-{number}", "unknown_agent", secrets.token_hex(4))
        first = client.get("/api/v1/refusals", params={"limit": 2}).json()
        second = client.get("/api/v1/refusals", params={"limit": 2, "cursor": first["next"]}).json()
        assert [item["who"] for item in first["items"] + second["items"]] == [f"stranger-{n}" for n in range(3)]
        assert second["next"] is None
