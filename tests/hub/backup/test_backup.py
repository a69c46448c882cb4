"""A hub is backed up while it works, and the restored one answers the same; on either database, and across."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.registry.rig import OPERATOR, START, Down, Rig, calling, rig
from lamplighter_hub.access.roles import Role
from lamplighter_hub.assembly import BadDataFolder, prepare
from lamplighter_hub.backup import archive
from lamplighter_hub.backup.archive import BadBackup
from lamplighter_hub.backup.restore import UNFINISHED, CannotRestore, Restored, restore
from lamplighter_hub.backup.service import MAX_KEPT, Backup, BackupService, size_below
from lamplighter_hub.commands.service import Request
from lamplighter_hub.errors import Conflict, TooMany, Unavailable
from lamplighter_hub.registry.database import SQLITE_FILE, Database, sqlite_url
from lamplighter_hub.registry.models import Refusal
from lamplighter_hub.series.duckdb import DuckDbSeries, open_duckdb
from lamplighter_hub.series.manifest import DAY
from lamplighter_hub.series.store import Commit, Mark, Quarantined, StoredEvent
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.presence import Presence
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.records import ReportedRecord, ResultRecord
from services.postgres import Postgres
from services.wait import eventually
from suites.series.make import damaged_files

OUTBOX = "01M80T5JNV0000000000000001"
ASKED = (
    *("devices", "devices/lamp-1", "devices/lamp-1/latest", "events", "quarantine", "ledger", "commands", "agents"),
    *("devices/lamp-1/configuration", "devices/lamp-1/configuration/history", "refusals", "tokens"),
    *("devices/lamp-1/readings?metric=power", "export.csv", "export-events.csv", "devices/lamp-1/series?metric=power"),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest) -> str:
    """Where the registry is restored to: SQLite in the data folder ("") or an empty PostgreSQL database."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.url(server.create())


def work(made: Rig) -> None:
    """Leave something of everything."""
    made.street("lamp-1", "lamp-2")
    hub = made.hub
    times = [START + step * 1000 for step in range(200)]
    hub.series.commit(
        Commit(
            [Samples("lamp-1", "power", times, [float(step % 17) for step in range(200)])],
            [StoredEvent("lamp-1", START, "lit", {"路灯": 1})],
            [
                Mark("agent-1", OUTBOX, "live", 1, 200, 200, 3, 0, 0),
                Mark("agent-1", OUTBOX, "live", 205, 210, 0, 0, 6, 0),
            ],
            [Quarantined("0" * 26, START, "agent-1", "lamp-9", "batch", "unknown_device", "device", "?", b"\x00x")],
        )
    )
    view = hub.configuration.put("lamp-1", {"interval_s": 5}, "test")
    told = {"version": 1, "hash": view.desired.hash, "state": "applied", "document": view.desired.document}
    said = json.dumps({"kind": "reported", "device": "lamp-1", "t": START, **told})
    hub.configuration.reported([("agent-1", ReportedRecord.model_validate_json(said), START)])
    command = hub.commands.create(Request("lamp-1", "switch", {"on": True}), OPERATOR)
    answer = ResultRecord(device="lamp-1", command=command.id, state=CommandState.SUCCEEDED, t=START, data={"on": True})
    hub.commands.results([("agent-1", answer, START)])
    hub.refusals.record("stranger", "unknown_agent")
    hub.refusals.flush()
    hub.presence.flush()


def answers(made: Rig, token: str) -> dict[str, str]:
    """Ask the API everything that a restored hub must answer the same."""
    made.crash()
    with calling(made.hub, token) as client:
        return {asked: client.get(f"/api/v1/{asked}").raise_for_status().text for asked in ASKED}


def backed_up(made: Rig) -> Path:
    """Make a backup; return where the hub keeps it."""
    begun = made.hub.backups.begin()
    eventually(lambda: made.hub.backups.find(begun.id).state != "running", within_s=30)
    found = made.hub.backups.find(begun.id)
    assert found.state == "done", found.reason
    return made.data / "backups" / begun.id


def restored(source: Path, data: Path, url: str = "") -> Restored:
    return restore(source, data, url, open_duckdb)


def test_the_restored_hub_answers_the_same(tmp_path: Path, registry_url: str, other_url: str) -> None:
    (tmp_path / "old").mkdir()
    with rig(tmp_path / "old", registry_url) as made:
        token = made.token()
        work(made)
        kept = backed_up(made)
        before = answers(made, token)
        keys = made.hub.keys.public()
    new = tmp_path / "new"
    done = restored(kept, new, other_url)
    assert done.manifest.contents.series["points"] == 200
    assert (new / SQLITE_FILE).exists() == (not other_url)
    assert done.registry == "SQLite" if not other_url else ":***@" in done.registry
    with rig(new, other_url) as again:
        assert again.hub.keys.public() == keys
        assert answers(again, token) == before
        again.hub.configuration.put("lamp-1", {"interval_s": 6}, "test")
        assert [change.version for change in again.hub.configuration.history("lamp-1", 2**62, 10)] == [2, 1, 1]
    assert all(path.stat().st_mode & 0o077 == 0 for path in new.iterdir() if path.name in {"keys", SQLITE_FILE})


def test_sealed_hours_go_into_the_archive_and_come_back(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with rig(tmp_path / "old") as made:
        token = made.token()
        work(made)
        seal(made)
        made.hub.series.commit(Commit([Samples("lamp-1", "power", [START + 5, START + DAY], [1.0, 2.0])]))
        files = parquet(tmp_path / "old")
        assert {name.split("/")[0] for name in files} == {"series", "rollups"}
        kept = backed_up(made)
        with (tmp_path / "backup.tar").open("wb") as sink:
            sink.writelines(made.hub.backups.stream(kept.name))
        seal(made)
        before = answers(made, token)
        made.hub.backups.delete(kept.name)
    manifest = archive.check(tmp_path / "backup.tar")
    assert set(files) <= {file.name for file in manifest.files}
    restored(tmp_path / "backup.tar", tmp_path / "new")
    assert parquet(tmp_path / "new") == files
    with rig(tmp_path / "new") as again:
        assert answers(again, token) == before
        series = again.hub.series
        assert isinstance(series, DuckDbSeries)
        assert series.counts().points == 202
        assert damaged_files(series) == []


def seal(made: Rig) -> None:
    series = made.hub.series
    assert isinstance(series, DuckDbSeries)
    assert series.seal().points


def parquet(folder: Path) -> dict[str, bytes]:
    """Return the sealed files and roll-ups of a data folder."""
    found = (path for root in ("series", "rollups") for path in (folder / root).rglob("*.parquet"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


def test_what_the_copied_ledger_calls_stored_is_in_the_copied_registry(tmp_path: Path, registry_url: str) -> None:
    """The registry is copied after the series: a result that is booked in between is in the copy."""
    with rig(tmp_path, registry_url) as made:
        work(made)
        copy_series = made.hub.series.backup

        def booked_in_between(folder: Path) -> None:
            copy_series(folder)
            with made.hub.registry.write() as session:
                session.add(Refusal(who="in between", why="x", count=1, first_at=1, last_at=1))

        made.hub.series.backup = booked_in_between  # type: ignore[method-assign]
        kept = backed_up(made)
    database = Database(sqlite_url(kept))
    with database.read() as session:
        assert session.get(Refusal, ("in between", "x")) is not None
    database.close()


def test_what_was_pending_is_not_carried_out_by_the_restored_hub(tmp_path: Path, registry_url: str) -> None:
    (tmp_path / "old").mkdir()
    with rig(tmp_path / "old", registry_url) as made:
        made.street("lamp-1")
        sent = made.hub.commands.create(Request("lamp-1", "switch", {"on": True}, expires_in_s=600), OPERATOR)
        link, unused = code_of_link(made), code_of_link(made)
        cookie = made.hub.access.sign_in(link, "").cookie
        _, code = made.hub.enrolment.new_code("test", agent="agent-9")
        made.hub.presence.told("agent-1", Presence(state="offline", session=1, reason="stopped"), made.clock())
        queued = made.hub.commands.create(Request("lamp-1", "switch", {"on": False}, expires_in_s=600), OPERATOR)
        assert (sent.state, queued.state) == ("sent", "queued")
        kept = backed_up(made)
    restored(kept, tmp_path / "new")
    with rig(tmp_path / "new") as again:
        again.clock.now = made.clock.now
        assert again.hub.commands.find(queued.id).state == "cancelled"
        assert "restored" in again.hub.commands.find(queued.id).reason
        assert again.hub.commands.find(sent.id).cancel_at is not None
        again.birth("agent-1", ["lamp-1"], session=2)
        assert down(again.down) == [f"cancel {sent.id}"]
        assert again.hub.access.by_session(cookie) is None
        for secret in (unused, link):
            with pytest.raises(Exception, match="used before"):
                again.hub.access.sign_in(secret, "")
        with pytest.raises(Exception, match="code"):
            again.hub.enrolment.enrol(code, "agent-9", "")


def code_of_link(made: Rig) -> str:
    return made.hub.access.new_link("Li Na", Role.OPERATOR, "test", "http://hub.invalid").url.partition("code=")[2]


def down(sent: Down) -> list[str]:
    return sorted(set(sent.names()))


def test_only_one_at_a_time_and_only_so_many_are_kept(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        work(made)
        kept = backed_up(made)
        with held(made) as begun:
            with pytest.raises(Conflict, match="being made"):
                made.hub.backups.begin()
            with pytest.raises(Conflict, match="being made"):
                made.hub.backups.delete(begun.id)
            with pytest.raises(Conflict, match="not complete"):
                made.hub.backups.size(begun.id)
        eventually(lambda: made.hub.backups.find(begun.id).state == "done")
        for number in range(MAX_KEPT - 2):
            shutil.copytree(kept, kept.with_name(f"{number:026d}"))
        with pytest.raises(TooMany):
            made.hub.backups.begin()
        assert len(made.hub.backups.page("", 100)) == MAX_KEPT
        made.hub.backups.delete(begun.id)
        backed_up(made)


@contextmanager
def held(made: Rig) -> Iterator[Backup]:
    """Begin a backup that does not get on before the end."""
    with made.hub.series._copier.working:  # type: ignore[attr-defined]
        yield made.hub.backups.begin()


def test_a_backup_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        work(made)

        def full(folder: Path) -> None:
            (folder / "series.duckdb").write_bytes(b"half")
            raise OSError(28, "No space left on device")

        made.hub.series.backup = full  # type: ignore[method-assign]
        begun = made.hub.backups.begin()
        eventually(lambda: made.hub.backups.find(begun.id).state == "failed")
        assert "No space left" in made.hub.backups.find(begun.id).reason
        assert list((tmp_path / "backups").iterdir()) == []
        made.hub.backups.delete(begun.id)
        assert made.hub.backups.page("", 10) == []


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rig(tmp_path) as made:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(Unavailable, match="MB are free"):
            made.hub.backups.begin()


def test_what_a_crash_left_goes_at_the_next_start(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        kept = backed_up(made)
        half = tmp_path / "backups" / ".01M80T5JNV0000000000000000"
        half.mkdir()
        (half / "series.duckdb").write_bytes(b"half")
        hub = made.crash()
        service = BackupService(tmp_path, made.clock, hub.registry, hub.series, hub.keys, open_duckdb)
        service.load()
        assert [backup.id for backup in service.page("", 10)] == [kept.name]
        assert [path.name for path in (tmp_path / "backups").iterdir()] == [kept.name]


def test_only_administrators_have_backups(tmp_path: Path) -> None:
    with rig(tmp_path) as made, calling(made.hub, made.token(Role.OPERATOR)) as client:
        kept = backed_up(made)
        for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{kept.name}"), ("GET", f"/{kept.name}/archive")):
            assert client.request(method, f"/api/v1/backups{path}").status_code == 403
        assert client.delete(f"/api/v1/backups/{kept.name}").status_code == 403


def test_the_api_makes_lists_hands_out_and_deletes(tmp_path: Path) -> None:
    with rig(tmp_path) as made, calling(made.hub, made.token()) as client:
        work(made)
        begun = client.post("/api/v1/backups")
        assert begun.status_code == 202
        place = f"/api/v1/backups/{begun.json()['id']}"
        eventually(lambda: client.get(place).json()["state"] == "done")
        made_of = client.get(place).json()
        assert made_of["contents"]["ledger"] == {
            "stored": 200,
            "duplicate": 3,
            "quarantined": 6,
            "dropped": 0,
            "missing": 4,
        }
        assert client.get("/api/v1/backups").json()["items"] == [made_of]
        answer = client.get(f"{place}/archive")
        assert int(answer.headers["content-length"]) == len(answer.content)
        (tmp_path / "got.tar").write_bytes(answer.content)
        assert archive.check(tmp_path / "got.tar").moment == made_of["moment"] == START
        assert client.delete(place).status_code == 204
        assert client.get(place).status_code == 404
        assert client.get(f"{place}/archive").status_code == 404
        assert list((tmp_path / "backups").iterdir()) == []


def snapshot(folder: Path) -> dict[str, Any]:
    return {str(path): path.stat().st_size for path in folder.rglob("*")}


def spoil(kept: Path) -> None:
    path = kept / "series.duckdb"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lie(kept: Path) -> None:
    manifest = archive.read_manifest(kept)
    contents = manifest.contents.model_copy(update={"ledger": {**manifest.contents.ledger, "stored": 999}})
    archive.write_manifest(kept, manifest.model_copy(update={"contents": contents}))


@pytest.mark.parametrize(
    ("harm", "error", "named"), [(spoil, BadBackup, r"series\.duckdb"), (lie, CannotRestore, r"ledger\.stored 999")]
)
def test_a_restore_that_fails_leaves_nothing_behind(
    harm: Callable[[Path], None], error: type[Exception], named: str, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    with rig(tmp_path / "old") as made:
        work(made)
        kept = backed_up(made)
    harm(kept)
    with pytest.raises(error, match=named):
        restored(kept, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=named):
        restored(kept, tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


def test_nothing_is_ever_written_over(tmp_path: Path, postgres_server: Postgres) -> None:
    (tmp_path / "old").mkdir()
    with rig(tmp_path / "old") as made:
        work(made)
        kept = backed_up(made)
    before = snapshot(tmp_path / "old")
    with pytest.raises(CannotRestore, match="not empty"):
        restored(kept, tmp_path / "old")
    assert snapshot(tmp_path / "old") == before
    (tmp_path / "used").mkdir()
    url = postgres_server.url(postgres_server.create())
    with rig(tmp_path / "used", url) as other:
        other.street("lamp-7")
    with pytest.raises(CannotRestore, match=r"registry .*\*\*\*.* is not empty") as caught:
        restored(kept, tmp_path / "new", url)
    assert postgres_server.password not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_hub_does_not_start_on_half_a_restore(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    with pytest.raises(BadDataFolder, match="did not end"):
        prepare(tmp_path)


def test_the_archive_comes_through_the_api_to_whoever_asks_with_a_token_only(tmp_path: Path) -> None:
    with rig(tmp_path) as made, calling(made.hub) as client:
        kept = backed_up(made)
        answer: httpx.Response = client.get(f"/api/v1/backups/{kept.name}/archive")
        assert answer.status_code == 401


def test_the_size_of_a_folder_that_goes_away_is_what_is_left(tmp_path: Path) -> None:
    """A look at how far a backup is may meet the moment in which its work folder is removed or renamed."""
    away, stop = tmp_path / "away", threading.Event()

    def comes_and_goes() -> None:
        while not stop.is_set():
            deep = tmp_path / "work" / "a" / "b" / "c"
            deep.mkdir(parents=True)
            (deep / "file").write_bytes(b"12345")
            (tmp_path / "work").rename(away)
            shutil.rmtree(away)

    thread = threading.Thread(target=comes_and_goes)
    thread.start()
    try:
        assert {size_below(tmp_path) for _ in range(2_000)} <= {0, 5}
    finally:
        stop.set()
        thread.join()
