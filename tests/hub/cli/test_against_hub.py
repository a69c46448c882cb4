"""Every group of commands against a real hub: tables for people, JSON for programs, honest exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from hub.cli.foreign import Foreign, now
from hub.cli.program import Program
from services.hub import Hub
from services.wait import eventually

pytestmark = pytest.mark.services


def test_the_folder_is_enough_and_only_its_owner_reads_it(real_hub: Hub, lamplighter: Program) -> None:
    assert (real_hub.data / "cli.json").stat().st_mode & 0o077 == 0
    said = lamplighter("status")
    assert said.code == 0
    assert re.search(r"^now +20\d\d-\d\d-\d\d ", said.out, re.MULTILINE)
    assert re.search(r"^series .*disk \d+\.\d [kMG]B", said.out, re.MULTILINE)
    assert "{" not in said.out, "what people read is no JSON"
    assert lamplighter("status", "--json").json["version"]


def test_a_wrong_token_is_one_line_with_a_way_out(real_hub: Hub, lamplighter: Program) -> None:
    said = lamplighter("devices", "--url", real_hub.url, "--token", "wrong")
    assert said.code == 1
    assert "--token" in said.error
    assert len(said.error.splitlines()) == 1


def test_a_lower_role_is_told_what_it_needs(real_hub: Hub, lamplighter: Program) -> None:
    token = lamplighter("token", "create", "onlooker", "--expires", "1h", "--json").json["token"]
    environment = {"LAMPLIGHTER_URL": real_hub.url, "LAMPLIGHTER_TOKEN": token}
    assert lamplighter("devices", "--json", env=environment).json is not None
    said = lamplighter("token", "create", "more", env=environment)
    assert said.code == 1
    assert "role" in said.error


def test_devices_are_listed_and_shown(lamplighter: Program, foreign: Foreign) -> None:
    assert {one["id"] for one in lamplighter("devices", "list", "--json").json} == set(foreign.devices)
    assert [one["id"] for one in lamplighter("devices", "--profile", "kiosk", "--json").json] == ["kiosk-1"]
    assert "online" in lamplighter("devices").out
    assert lamplighter("devices", "show", "air-1", "--json").json["profile"] == "air-station"
    unknown = lamplighter("devices", "show", "nobody")
    assert (unknown.code, len(unknown.error.splitlines())) == (1, 1)
    assert [one["id"] for one in lamplighter("agents", "--json").json] == ["pole-1"]


def test_readings_are_queried_and_exported(lamplighter: Program, foreign: Foreign) -> None:
    t = now() - 60_000
    values = {"kind": "readings", "device": "air-1", "t": t, "dt": [0, 1000, 2000], "m": {"pm25": [10.5, 11.0, 12.5]}}
    foreign.send(values)
    raw = ("query", "air-1", "pm25", "--raw", "--json")
    eventually(lambda: len(lamplighter(*raw).json) == 3, within_s=20)
    series = lamplighter("query", "air-1", "pm25", "--from", "10m", "--points", "1", "--json").json
    assert sum(bucket["count"] for bucket in series["buckets"]) == 3
    assert "12.5" in lamplighter("query", "air-1", "pm25", "--from", "10m").out
    assert "pm25" in lamplighter("devices", "show", "air-1").out
    rows = list(csv.reader(io.StringIO(lamplighter("export", "--device", "air-1").out)))
    assert len(rows) == 4
    said = lamplighter("export", "--device", "air-1", "-o", "air.csv")
    assert said.code == 0
    assert list(csv.reader(io.StringIO((lamplighter.folder / "air.csv").read_text()))) == rows
    assert not list(lamplighter.folder.glob("*.part"))


def test_completeness_says_of_which_time_it_is(lamplighter: Program, foreign: Foreign) -> None:
    t = now()
    foreign.send({"kind": "readings", "device": "air-1", "t": t, "dt": [0], "m": {"so2": [1.5]}})
    asked = ("completeness", "air-1", "--from", "1h", "--interval", "1s")
    eventually(lambda: any(one["stored"] for one in lamplighter(*asked, "--json").json["metrics"]), within_s=20)
    complete = re.compile(r"air-1: [\d.]+ % complete from 20\d\d-[^ ]+ [^ ]+ to 20\d\d-.*", re.DOTALL)
    said = eventually(lambda: complete.match(lamplighter(*asked).out), within_s=20)
    assert said
    assert "(as asked)" in said[0]
    assert " hour " not in said[0]
    by_hour = lamplighter(*asked, "--hours").out
    assert " hour " in by_hour
    assert len([line for line in by_hour.splitlines() if line.split()[:1] == ["so2"]]) in {1, 2}, "no hour of before"
    assert "nothing was expected until" in lamplighter("completeness", "air-1", "--from", "3h", "--to", "2h").out


def test_what_was_exported_is_imported_once(lamplighter: Program, foreign: Foreign) -> None:
    t = now() - 50_000
    foreign.send({"kind": "readings", "device": "air-1", "t": t, "dt": [0, 1], "m": {"pm10": [1.5, 1.5]}})
    eventually(lambda: len(lamplighter("query", "air-1", "pm10", "--raw", "--json").json) == 2, within_s=20)
    for form in ("csv", "parquet"):
        file = f"again.{form}"
        assert lamplighter("export", "--metric", "pm10", "--format", form, "-o", file).code == 0
        said = lamplighter("import", file)
        assert (said.code, said.error) == (0, f"{file}: 2 rows, 0 stored, 2 already there\n")
    lines = (lamplighter.folder / "again.csv").read_text().splitlines()
    (lamplighter.folder / "more.csv").write_text("\n".join([*lines, lines[-1].replace("1.5", "soon"), ""]))
    said = lamplighter("import", "more.csv")
    assert (said.code, len(said.error.splitlines())) == (1, 1)
    assert "more.csv, line 4, column value" in said.error
    (lamplighter.folder / "more.csv").write_text("\n".join([lines[0], lines[-1].replace("1.5", "2.5"), ""]))
    assert lamplighter("import", "more.csv", "--json").json == {
        "file": "more.csv",
        "rows": 1,
        "stored": 1,
        "already_there": 0,
    }
    assert len(lamplighter("query", "air-1", "pm10", "--raw", "--json").json) == 3
    assert lamplighter("export", "--events", "--format", "parquet").code == 1


def test_an_export_that_cannot_be_written_is_one_line(lamplighter: Program, foreign: Foreign) -> None:
    said = lamplighter("export", "--device", "air-1", "-o", "no/such/folder.csv")
    assert (said.code, len(said.error.splitlines())) == (1, 1)


def test_events_are_listed_and_exported(lamplighter: Program, foreign: Foreign) -> None:
    foreign.send(
        {"kind": "event", "device": "kiosk-1", "t": now(), "name": "paper_out", "data": {"tray": "\x1b[31mup"}}
    )
    found = eventually(lambda: lamplighter("events", "--device", "kiosk-1", "--json").json, within_s=20)
    assert found[0]["name"] == "paper_out"
    shown = lamplighter("events", "--name", "paper_out").out
    assert "paper_out" in shown
    assert "\x1b" not in shown
    assert "paper_out" in lamplighter("export", "--events", "--device", "kiosk-1").out


def test_a_command_is_watched_to_its_end(lamplighter: Program, foreign: Foreign) -> None:
    said = lamplighter("command", "send", "kiosk-1", "print_test_page", "copies=1", "--wait")
    assert said.code == 0, said
    for fact in ("accepted by hub", "received by agent", "started", "finished", "succeeded"):
        assert fact in said.out
    key = ("command", "send", "kiosk-1", "unlock", "--key", "the-same-key", "--json")
    first, second = lamplighter(*key).json, lamplighter(*key).json
    assert first["id"] == second["id"]
    assert lamplighter("command", "wait", first["id"], "--json").json["state"] == "succeeded"
    assert len(lamplighter("command", "list", "--device", "kiosk-1", "--json").json) == 2
    assert "print_test_page" in lamplighter("command").out
    late = lamplighter("command", "cancel", first["id"])
    assert late.code in (0, 1)
    assert "succeeded" in late.out + late.error


@pytest.mark.parametrize(
    ("words", "named"),
    [(("print_test_page", "copies=99"), "copies"), (("no_such",), "known commands"), (("reboot",), "reason")],
    ids=["value", "name", "reason"],
)
def test_a_wrong_command_is_refused_by_name(
    lamplighter: Program, foreign: Foreign, words: tuple[str, ...], named: str
) -> None:
    said = lamplighter("command", "send", "kiosk-1", *words)
    assert said.code == 1
    assert named in said.error
    assert len(said.error.splitlines()) == 1


def test_configuration_is_set_reported_and_refused(lamplighter: Program, foreign: Foreign) -> None:
    said = lamplighter("config", "set", "air-1", "interval_s=5", "--wait", "20s", "--json")
    assert said.code == 0, said
    assert said.json["reported"]["document"]["interval_s"] == 5
    assert "interval_s" in lamplighter("config", "show", "air-1").out
    wrong = lamplighter("config", "set", "air-1", "interval_s=-1")
    assert wrong.code == 1
    assert "interval_s" in wrong.error
    (lamplighter.folder / "air-1.json").write_text(json.dumps({"interval_s": 7}))
    assert lamplighter("config", "set", "air-1", "--file", "air-1.json").code == 0
    back = lamplighter("config", "set", "air-1", "--unset", "interval_s", "--wait", "20s", "--json").json
    assert back["set"] == {}
    assert len(lamplighter("config", "history", "air-1", "--json").json) >= 3


def test_quarantine_is_listed_and_shown(lamplighter: Program, foreign: Foreign) -> None:
    foreign.send({"kind": "event", "device": "stranger", "t": now(), "name": "x", "data": {}})

    def set_aside() -> Any:
        foreign.again()
        return lamplighter("quarantine", "--agent", "pole-1", "--json").json

    found = eventually(set_aside, within_s=40)
    assert found[0]["reason"] == "unknown_device"
    assert "stranger" in lamplighter("quarantine", "show", found[0]["id"]).out


def test_records_of_a_clock_in_1970_are_released_with_right_times(lamplighter: Program, foreign: Foreign) -> None:
    begun = now() - 100_000
    for second in (10, 11, 12):
        t = now() - begun
        foreign.send({"kind": "readings", "device": "air-1", "t": t, "dt": [0], "m": {"no2": [float(second)]}})
    of_device = ("quarantine", "--device", "air-1", "--reason", "impossible_time")
    eventually(lambda: len(lamplighter(*of_device, "--json").json) == 3, within_s=20)

    said = lamplighter(*of_device)
    assert said.out.count("1970-01-01") == 3
    assert "3 wait for their times" in said.error
    assert "lamplighter quarantine release --device air-1 --shift SPAN, or --as-received" in said.error
    vague = lamplighter("quarantine", "release", "--device", "air-1")
    assert vague.code == 1
    assert "--shift SPAN" in vague.error

    command = ("quarantine", "release", "--device", "air-1", "--shift", f"{begun}ms")
    assert "3 would be released" in lamplighter(*command, "--dry-run").out
    assert lamplighter("query", "air-1", "no2", "--raw", "--json").json == []
    assert "3 released" in lamplighter(*command).out
    found = lamplighter("query", "air-1", "no2", "--raw", "--json").json
    assert [one["value"] for one in found] == [10.0, 11.0, 12.0]
    assert all(abs(one["t"] - now()) < 60_000 for one in found)
    again = lamplighter(*command)
    assert (again.code, again.out) == (1, "")
    assert "nothing of this waits" in again.error
    assert "3 wait" not in lamplighter(*of_device).error
    assert lamplighter(*of_device, "--json").json[0]["released"]["by"].startswith("token ")
    assert lamplighter("quarantine", "release", "--device", "air-1", "--shift", "soon").code == 2


def test_codes_tokens_and_links(lamplighter: Program) -> None:
    code = lamplighter("enroll-code", "--agent", "pole-2", "--expires", "1h", "--note", "test", "--json").json
    assert "lamplighter-agent enroll http" in lamplighter("enroll-code").out
    assert code["id"] in {one["id"] for one in lamplighter("enroll-code", "list", "--json").json}
    assert lamplighter("enroll-code", "revoke", code["id"]).code == 0
    token = lamplighter("token", "create", "short", "--json").json
    assert token["id"] in lamplighter("token", "list").out
    assert lamplighter("token", "revoke", token["id"]).code == 0
    assert "/sign-in" in lamplighter("sign-in-link", "--name", "Ms Li").out


def test_the_ledger_says_what_is_missing_by_its_exit_code(lamplighter: Program, foreign: Foreign) -> None:
    eventually(lambda: lamplighter("ledger").code == 0, within_s=20)
    foreign.send({"kind": "event", "device": "kiosk-1", "t": now(), "name": "paper_low", "data": {}}, skip=3)
    gap = f"{foreign.next - 4}-{foreign.next - 2}"
    eventually(lambda: lamplighter("ledger", "pole-1").code == 1, within_s=20)
    said = lamplighter("ledger")
    assert gap in said.out
    assert "3 missing" in said.out
    assert lamplighter("ledger", "--json").json[0]["missing_records"] == 3


def test_the_ledger_of_nobody_is_not_whole(lamplighter: Program, foreign: Foreign) -> None:
    assert lamplighter("devices", "show", "air-1", "--json").json["agent"] == foreign.agent
    said = lamplighter("ledger", "pole-l")
    assert (said.code, said.out) == (1, "")
    assert "'pole-l' is not known - list them with `lamplighter agents`" in said.error


def test_what_is_not_there_is_said_to_be_so(lamplighter: Program, foreign: Foreign) -> None:
    unset = lamplighter("config", "set", min(foreign.devices), "--unset", "intervall")
    assert (unset.code, "intervall is not set" in unset.error) == (1, True)
    entry = lamplighter("quarantine", "show", "01M85BXD602SVA26V2X7100000")
    assert (entry.code, "`lamplighter quarantine`" in entry.error) == (1, True)
    assert "nothing of this" in lamplighter("quarantine", "--reason", "unknown_planet").error
    text = lamplighter("query", "kiosk-1", "door").out
    assert text.startswith("kiosk-1 door, ")


def test_refusals_are_seen(real_hub: Hub, lamplighter: Program, foreign: Foreign) -> None:
    stranger = Foreign("pole-1", "wrong", f"mqtt://127.0.0.1:{real_hub.mqtt_port}")
    stranger.start()
    eventually(lambda: "pole-1" in lamplighter("refusals").out, within_s=20)
    stranger.stop()
    assert lamplighter("agents", "revoke", "pole-1").code == 0
