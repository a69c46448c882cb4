"""Which class the profile of a device gives, and how what is too old goes while a hub runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hub.registry.rig import START, rig
from lamplighter_hub.series.ageing import Ageing, ageing, policy
from lamplighter_hub.series.ages import Ages
from lamplighter_hub.series.store import Commit, SeriesError, StoredEvent
from lamplighter_hub.settings import Settings
from lamplighter_protocols.profile import Retention, parse_profile
from services.wait import eventually
from suites.series.make import column, everything, put

DAY = 86_400_000
PROFILE = """
id = "lamp"
device_class = "street-light"
title = {en = "Lamp", zh = "路灯"}
[metrics.power]
title = {en = "Power", zh = "功率"}
retention = "short"
[metrics.energy]
title = {en = "Energy", zh = "电量"}
[events.passage]
title = {en = "Passage", zh = "通过"}
retention = "long"
"""


def test_a_class_comes_from_the_profile_and_else_is_standard(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.street("lamp-1")
        made.hub.profiles = {"lamp": parse_profile(PROFILE)}
        found = policy(made.hub)
        assert found.metric("lamp-1", "power") is Retention.SHORT
        assert found.metric("lamp-1", "energy") is Retention.STANDARD
        assert found.metric("lamp-1", "unheard") is Retention.STANDARD
        assert found.metric("who", "power") is Retention.STANDARD
        assert found.event("lamp-1", "passage") is Retention.LONG
        assert found.event("lamp-1", "door") is Retention.STANDARD


def test_a_hub_lets_go_what_is_too_old_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_hub.series.ageing.FIRST_S", 0.01)
    with rig(tmp_path) as made:
        made.street("lamp-1")
        made.hub.profiles = {"lamp": parse_profile(PROFILE)}
        made.hub.settings = made.hub.settings.model_copy(update={"keep_short": "raw=2,events=1"})
        old = START - 4 * DAY
        put(made.hub.series, column("lamp-1", "power", [(old, 1.0)]), column("lamp-1", "energy", [(old, 2.0)]))
        made.hub.series.commit(Commit(events=[StoredEvent("lamp-1", old, "passage", {})]))
        with ageing(made.hub):
            facts = eventually(lambda: (told := made.hub.facts["retention"]())["last"] and told)
        assert facts["days"]["short"] == {"raw": 2, "minute": None, "hour": None, "day": None, "events": 1}
        assert facts["trouble"] == ""
        assert [item.metric for item in everything(made.hub.series, "lamp-1")] == ["energy"]


def test_a_store_that_cannot_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rig(tmp_path) as made:
        keeper = Ageing(made.hub)

        def away(*_: object) -> None:
            raise SeriesError("the store is away")

        with monkeypatch.context() as patch:
            patch.setattr(made.hub.series, "expire", away)
            keeper.expire()
        assert (keeper.facts()["last"], keeper.facts()["trouble"]) == (None, "the store is away")
        keeper.expire()
        assert (keeper.facts()["last"], keeper.facts()["trouble"]) == (made.hub.clock(), "")
        assert keeper.policy.ages[Retention.LONG] == Ages()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raw=30,day=20", "raw=30: is longer than what is coarser, which is kept for 20 days"),
        ("raw=0", "raw=0: must be a number of days"),
        ("raw=x", "must be a number of days"),
        ("weeks=3", "must look like raw=30,minute=90"),
        ("raw", "must be a number of days"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_right(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(keep_long=text)
