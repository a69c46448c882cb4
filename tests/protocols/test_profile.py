"""Profiles: a mistake is one line that names file, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamplighter_protocols.commands import Hazard
from lamplighter_protocols.errors import BadProfile
from lamplighter_protocols.profile import load_profiles, parse_profile

HEAD = 'id = "lamp"\ndevice_class = "light"\ntitle = { zh = "灯", en = "Lamp" }\n'
METRIC = '[metrics.level]\ntitle = { zh = "亮度", en = "Level" }\n'
WRONG = [
    ("id = 1", "id: is not a text"),
    ("id =", "not TOML: Invalid value"),
    (HEAD + "colour = 1", "colour: is not a known key; check its spelling"),
    (HEAD + "[metrics.Level]\ntitle = {}", "metrics.Level: does not have the form"),
    (HEAD + "[metrics.level]", "metrics.level.title: is required"),
    (HEAD + METRIC + "rnge = [0, 1]", "metrics.level.rnge: is not a known key"),
    (HEAD + METRIC + "range = [2, 1]", "metrics.level.range: the lower bound is above the upper one"),
    (HEAD + METRIC + "range = [0]", "metrics.level.range.1: is required"),
    (HEAD + METRIC + 'aggregation = "middle"', "metrics.level.aggregation: is not 'mean', 'energy'"),
    (HEAD + "[modbus.registers]\nx = { address = 1 }", "modbus.registers.x: no such metric; add [metrics.x]"),
    ("id = " + "[" * 5_000, "nested too deeply"),
    (HEAD + METRIC + "[modbus.registers]\nlevel = { address = 70000 }", "address: is above 65536"),
    (HEAD + METRIC + "[modbus]\nbase = 1\n[modbus.registers]\nlevel = { address = 0 }", "address 0 is outside"),
    (HEAD + METRIC + '[modbus.registers]\nlevel = { address = 0, type = "bit" }', "level.bit: say which one"),
    (HEAD + METRIC + "[modbus.registers]\nlevel = { address = 0, scale = 0 }", "level.scale: 0 makes every value"),
    (
        HEAD + METRIC + '[modbus.registers]\nlevel = { address = 0, sentinels = { x = "no_data" } }',
        "level.sentinels.x: is not a number",
    ),
    (
        HEAD + METRIC + '[modbus.registers]\nlevel = { address = 0, sentinels = { 0 = "broken" } }',
        "level.sentinels.0: is not 'good', 'sensor_fault'",
    ),
    (
        HEAD + '[configuration.rate]\ntype = "integer"\nmax = 5\ndefault = 9',
        "configuration.rate.default: 9 is above 5",
    ),
    (HEAD + '[configuration.rate]\ntype = "integer"\ndefalt = 9', "configuration.rate.defalt: is not a known key"),
    (HEAD + '[commands.on]\ntitle = {}\nhazard = "deadly"', "commands.on.hazard: is not 'none', 'caution'"),
    (
        HEAD + METRIC + '[tail]\ntime = ["t"]\ntime_format = "iso"\n[tail.columns]\nlevel = { column = 1 }',
        "tail: column 't' has a name: set header = true",
    ),
    (
        HEAD + METRIC + '[tail]\ntime = [0]\ntime_format = "iso"\nevent = "x"\n[tail.columns]\nlevel = { column = 1 }',
        "tail.event: no such event; add [events.x]",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_mistake_names_file_key_and_fix(text: str, said: str) -> None:
    with pytest.raises(BadProfile) as caught:
        parse_profile(text, "light/lamp.toml")
    assert str(caught.value).startswith("light/lamp.toml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_city_adds_a_model_or_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "light").mkdir()
    (tmp_path / "light" / "lamp.toml").write_text(HEAD + METRIC, "utf-8")
    (tmp_path / "kiosk.toml").write_text(HEAD.replace('"lamp"', '"kiosk"'), "utf-8")
    profiles = load_profiles(tmp_path)
    assert profiles["lamp"].metrics.keys() == {"level"}
    assert profiles["kiosk"].device_class == "light"
    assert "air-station" in profiles


def test_one_id_twice_in_a_folder_is_a_mistake(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(HEAD, "utf-8")
    with pytest.raises(BadProfile, match=r"b\.toml: profile 'lamp' is defined twice"):
        load_profiles(tmp_path)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"id = '\xff'")
    with pytest.raises(BadProfile, match=r"a\.toml: is not UTF-8"):
        load_profiles(tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadProfile, match="is not a folder"):
        load_profiles(tmp_path / "nowhere")


def test_dangerous_commands_want_a_reason_and_control_is_lent() -> None:
    commands = load_profiles()["signal-controller"].commands
    assert [name for name, command in commands.items() if command.hazard is Hazard.DANGEROUS] == ["request_flash"]
    assert {name for name, command in commands.items() if command.max_lease_s} == {"set_plan", "request_flash"}
