"""A look at everything: over HTTP, in the background, and in each answer that a damaged file leaves incomplete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from hub.registry.rig import START, Rig, calling, rig
from lamplighter_hub.access.roles import Role
from lamplighter_hub.errors import Conflict
from lamplighter_hub.series.store import TimeSeries
from lamplighter_hub.verification import service
from lamplighter_hub.verification.service import DONE, VerificationService
from services.wait import eventually
from suites.series.make import column, put

DAY = 86_400_000
OLD = START // DAY * DAY - 400 * DAY
V1 = "/api/v1"


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        made.street("lamp-1", "lamp-2")
        for day in range(3):
            put(made.hub.series, column("lamp-1", "power", [(OLD + day * DAY + i, float(i)) for i in range(500)]))
            cast("Any", made.hub.series).seal()
        yield made


def files(made: Rig, kind: str) -> list[Path]:
    return sorted((made.data / kind).rglob("*.parquet"))


def flip(path: Path) -> bytes:
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    return whole


def looked(client: httpx.Client) -> Any:
    assert client.post(f"{V1}/verification").status_code == 202
    return eventually(lambda: (found := client.get(f"{V1}/verification").json())["state"] != "running" and found)


def test_a_look_names_what_is_damaged_and_what_it_made_anew(street: Rig) -> None:
    raw, minutes = files(street, "series")[0], files(street, "rollups/minute")[1]
    with calling(street.hub, street.token(Role.OPERATOR)) as client:
        answer = client.get(f"{V1}/verification")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:lamplighter:problem:no_verification")
        assert looked(client)["damaged"] == []
        whole = flip(raw)
        flip(minutes)
        found = looked(client)
        assert (found["state"], found["files"], found["of_files"]) == ("done", 9, 9)
        assert (
            found["bytes"] == found["of_bytes"] == sum(path.stat().st_size for path in street.data.rglob("*.parquet"))
        )
        first, second = found["damaged"]
        assert first == {
            "path": str(raw.relative_to(street.data)),
            "what": "readings",
            "from": OLD,
            "to": OLD + 500,
            "points": 500,
            "rebuilt": False,
        }
        assert (second["path"], second["what"], second["rebuilt"]) == (
            str(minutes.relative_to(street.data)),
            "minutes",
            True,
        )
        street.hub.facts["sealing"] = cast("Any", street.hub.series).facts
        metrics = client.get("/metrics").text
        assert "lamplighter_store_damaged_files 1.0" in metrics
        assert "lamplighter_store_rebuilt_files_total 1.0" in metrics
        raw.write_bytes(whole)
        assert looked(client)["damaged"] == []


def test_an_answer_says_what_it_may_lack(street: Rig) -> None:
    raw = files(street, "series")[0]
    asked: dict[str, str | int] = {"metric": "power", "from": OLD, "to": OLD + 3 * DAY}
    with calling(street.hub, street.token(Role.OPERATOR)) as client:

        def answers(device: str = "lamp-1") -> tuple[list[Any], list[Any], str]:
            series = client.get(f"{V1}/devices/{device}/series", params=asked).json()
            page = client.get(f"{V1}/devices/{device}/readings", params=asked).json()
            export = client.get(f"{V1}/export.csv", params={"device": device, **asked})
            assert export.status_code == 200
            return series["incomplete"], page["incomplete"], export.headers.get("Lamplighter-Incomplete", "")

        assert answers() == ([], [], "")
        flip(raw)
        looked(client)
        lost = {"from": OLD, "to": OLD + 500, "file": str(raw.relative_to(street.data))}
        assert answers() == ([lost], [lost], f"{lost['file']} {OLD}-{OLD + 500}")
        assert answers("lamp-2") == ([], [], "")
        later = client.get(f"{V1}/devices/lamp-1/readings", params={**asked, "from": OLD + DAY}).json()
        assert later["incomplete"] == []


def test_a_damaged_backup_is_named(street: Rig) -> None:
    begun = street.hub.backups.begin()
    eventually(lambda: street.hub.backups.find(begun.id).state == "done")
    with calling(street.hub, street.token(Role.OPERATOR)) as client:
        found = looked(client)
        assert (found["damaged"], found["files"]) == ([], found["of_files"])
        assert found["of_files"] > 9
        flip(street.data / "backups" / begun.id / "registry.sqlite")
        (fault,) = looked(client)["damaged"]
        assert (fault["path"], fault["what"]) == (f"backups/{begun.id}", "backup")
        assert street.hub.verification.facts()["damaged_backups"] == [f"backups/{begun.id}"]
        street.hub.backups.delete(begun.id)
        assert looked(client)["damaged"] == []


def test_viewers_begin_no_look(street: Rig) -> None:
    with calling(street.hub, street.token(Role.VIEWER)) as client:
        assert client.post(f"{V1}/verification").status_code == 403


def made(street: Rig, bytes_s: int) -> VerificationService:
    found = VerificationService(street.data, street.clock, street.hub.series, list, bytes_s)
    found.load()
    return found


def test_the_background_sees_everything_and_goes_on_after_a_restart(
    street: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_S", 0.01)
    monkeypatch.setattr(service, "NOTE_MS", -1)
    flip(files(street, "series")[0])
    slow = made(street, 1)  # the second file is not read before somebody ends it
    slow.start()
    eventually(lambda: slow.progress.place)
    slow.close()
    assert slow.facts()["ended"] is None
    assert cast("Any", street.hub.series).facts()["damaged"] == [
        str(files(street, "series")[0].relative_to(street.data))
    ]
    flip(files(street, "rollups/hour")[2])
    fast = made(street, 10**9)
    assert fast.progress.place == slow.progress.place
    fast.start()
    eventually(lambda: fast.facts()["ended"])
    assert (fast.facts()["ended"], fast.rebuilt) == (street.clock(), 1)
    ended = street.clock()
    street.clock.now += service.EVERY_MS - 1
    fast.close()
    assert made(street, 1).facts()["ended"] == ended
    again = made(street, 10**9)
    street.clock.now += 2
    again.start()
    eventually(lambda: again.facts()["ended"] == street.clock())
    again.close()


def test_a_look_of_what_cannot_be_read_fails_with_its_reason(street: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("lamplighter_hub.series.verifier.Verifier._one", broken)
    with calling(street.hub, street.token(Role.OPERATOR)) as client:
        found = looked(client)
    assert (found["state"], found["reason"]) == ("failed", "[Errno 5] Input/output error")


def test_a_store_that_cannot_says_what_can(street: Rig) -> None:
    other = VerificationService(street.data, street.clock, cast("TimeSeries", object()), list, 10**6)
    other.start()
    with pytest.raises(Conflict, match="influxd inspect verify-tsm"):
        other.begin()
    other.close()
    assert other.facts()["ended"] is None


def test_one_look_at_a_time(street: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    street.hub.verification.begin()
    eventually(lambda: street.hub.verification.last().state == DONE)
    monkeypatch.setattr(VerificationService, "_run", lambda *_: None)
    street.hub.verification.begin()
    with pytest.raises(Conflict, match="wait for it"):
        street.hub.verification.begin()
