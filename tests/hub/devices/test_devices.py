from __future__ import annotations

from pathlib import Path

from hub.registry.rig import birth, calling, rig
from lamplighter_hub.devices.service import Filter
from lamplighter_protocols.presence import Presence
from lamplighter_protocols.profile import Profile


def test_a_birth_registers_devices_and_says_whose_they_are(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.hub.enrolment.provision(["a", "b"], "test")
        made.birth("a", ["lamp-1", "lamp-2"])
        owner = made.hub.devices.owner_profile
        assert isinstance(owner("a", "lamp-1"), Profile)
        assert owner("b", "lamp-1") == "foreign_device"
        assert owner("a", "lamp-9") == "unknown_device"
        made.birth("b", ["lamp-1", "lamp-3"])
        assert owner("b", "lamp-1") == "foreign_device"
        assert isinstance(owner("b", "lamp-3"), Profile)
        refusal = made.hub.refusals.rows()[0]
        assert (refusal.who, refusal.why, refusal.detail) == ("b", "foreign_device", "device lamp-1 belongs to agent a")
        made.birth("a", ["odd"], session=2, profile="never-heard-of")
        assert owner("a", "odd") == "unknown_profile"
        made.crash()
        assert isinstance(made.hub.devices.owner_profile("a", "lamp-1"), Profile)
        assert made.hub.devices.owner_profile("a", "odd") == "unknown_profile"


def test_two_agents_that_claim_one_device_in_one_group_do_not_both_get_it(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.hub.enrolment.provision(["a", "b"], "test")
        made.hub.devices.born([("a", birth(["x"]), 1), ("b", birth(["x"]), 1), ("a", birth(["x", "y"], session=2), 2)])
        assert made.hub.devices.find("x").agent == "a"
        assert made.hub.devices.carried_by("a") == 2
        assert made.hub.refusals.totals() == {"foreign_device": 1}


def test_a_device_that_leaves_a_birth_stays_known_but_is_not_carried(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1", "lamp-2")
        made.birth("agent-1", ["lamp-2"], session=2)
        gone = made.hub.devices.find("lamp-1")
        assert not gone.carried
        assert made.hub.devices.state(gone)[:2] == ("unknown", "not_carried")
        assert made.hub.devices.counts() == {"online": 1, "offline": 0, "unknown": 1}
        made.birth("agent-1", ["lamp-1"], session=1)
        assert not made.hub.devices.find("lamp-1").carried, "an old birth says nothing"
        made.birth("agent-1", ["lamp-1", "lamp-2"], session=3)
        assert made.hub.devices.counts()["online"] == 2
        assert made.hub.devices.find("lamp-1").first_seen == gone.first_seen


def test_a_device_may_move_once_its_agent_is_revoked(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street("lamp-1")
        made.hub.enrolment.provision(["agent-2"], "test")
        made.hub.enrolment.revoke("agent-1")
        made.birth("agent-2", ["lamp-1"])
        assert made.hub.devices.find("lamp-1").agent == "agent-2"
        assert made.hub.devices.carried_by("agent-1") == 0
        made.crash()
        assert made.hub.devices.find("lamp-1").agent == "agent-2"


def test_an_agent_cannot_fill_the_registry(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street()
        for session in range(2, 9):
            made.birth("agent-1", [f"d{session}-{number}" for number in range(999)], session=session)
        assert made.hub.devices.count() == 5_000
        made.crash()
        made.birth("agent-1", ["one-more", "d2-1"], session=9)
        assert made.hub.devices.count() == 5_000
        assert made.hub.devices.carried_by("agent-1") == 1
        assert made.hub.refusals.totals()["too_many_devices"] == 1


def test_an_agent_that_is_not_enrolled_registers_nothing(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.birth("stranger", ["lamp-1"])
        assert made.hub.devices.count() == 0
        assert made.hub.refusals.rows()[0].why == "not_enrolled"


def test_a_city_of_devices_is_listed_quickly(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        agents = [f"agent-{number:05d}" for number in range(2_000)]
        for start in range(0, len(agents), 1000):
            made.hub.enrolment.provision(agents[start : start + 1000], "test")
        births = [(agent, birth([f"d-{agent[6:]}-{n:02d}" for n in range(50)]), 1) for agent in agents]
        made.hub.devices.born(births)
        made.hub.presence.told("agent-00000", Presence(state="offline", session=1), made.clock.forward(1))
        found = made.hub.devices.page(Filter(), "offline", "", 100)
        assert [known.id for known in found] == [f"d-00000-{n:02d}" for n in range(50)]
        assert made.hub.devices.counts_of(Filter(q="-49")) == {"online": 1999, "offline": 1, "unknown": 0}


def test_devices_over_http(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street(*[f"lamp-{number:02d}" for number in range(25)])
        found, cursor, pages = [], "", 0
        while cursor is not None:
            page = client.get("/api/v1/devices", params={"limit": 10, "cursor": cursor, "state": "online"}).json()
            assert (page["counts"] is None) == (pages > 0)
            found += [item["id"] for item in page["items"]]
            cursor, pages = page["next"], pages + 1
        assert found == [f"lamp-{number:02d}" for number in range(25)]
        assert pages == 3
        one = client.get("/api/v1/devices/lamp-03").json()
        assert (one["state"], one["reason"], one["agent"]) == ("online", "born", "agent-1")
        assert one["configuration"] == {"desired_version": 0, "reported_version": 0, "state": "applied"}
        assert client.get("/api/v1/devices", params={"q": "LAMP-2"}).json()["counts"]["online"] == 5
        missing = client.get("/api/v1/devices/lamp-99")
        assert (missing.status_code, missing.json()["type"]) == (404, "urn:lamplighter:problem:device_unknown")
        assert client.get("/api/v1/profiles").json()["items"][0]["id"] == "lamp"
        assert client.get("/api/v1/profiles/lamp").json()["commands"]["cut_power"]["hazard"] == "dangerous"
