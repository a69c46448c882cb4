"""Loggers' files, and recordings replayed: real ones to the last byte."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.programs import mistake, run
from lamplighter_firmware_sim.devices.stream import PREAMBLE, StreamLogger
from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.faces.log import LogFace
from lamplighter_firmware_sim.replay import Pace, Recording, replay_log
from lamplighter_firmware_sim.world import Weather
from lamplighter_protocols.profile import TailMap, load_profiles
from services.need import recording
from services.process import Children
from services.sim import simulator
from services.wait import eventually

PROFILES = load_profiles()


def tail_of(profile: str) -> TailMap:
    tail = PROFILES[profile].tail
    assert tail is not None
    return tail


def test_a_log_grows_line_by_line_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.txt"
    log = LogFace(path, [b"header\r\n"])
    log.open()
    log.write(b"one\r\n")
    assert path.read_bytes() == b"header\r\none\r\n", "flushed at once"
    log.close()
    log.open()
    log.write(b"two\r\n")
    assert path.read_bytes() == b"header\r\none\r\ntwo\r\n"
    log.close()


def test_half_a_line_is_ended_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"header\none,t")
    log = LogFace(path, [b"header\n"])
    log.open()
    log.write(b"two\n")
    assert path.read_bytes() == b"header\none,t\ntwo\n"
    log.close()


def test_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    log = LogFace(path, [b"h\n"])
    log.open()
    for line in (b"1\n", b"2\n", b"3\n"):
        log.write(line)
        log.rotate()
    assert path.read_bytes() == b"h\n"
    assert (tmp_path / "a.txt.1").read_bytes() == b"h\n3\n"
    assert (tmp_path / "a.txt.2").read_bytes() == b"h\n2\n"
    assert not (tmp_path / "a.txt.3").exists()
    log.write(b"4\n")
    inode = path.stat().st_ino
    log.truncate()
    assert path.read_bytes() == b"h\n"
    assert path.stat().st_ino == inode
    log.close()


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/a\.txt"):
        LogFace(tmp_path / "file" / "a.txt").open()


def test_the_loggers_lines_are_those_of_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "creek.txt"
    state, now = StreamLogger(1).step(1_000, Weather()), 1_795_000_000_000
    path.write_bytes(b"".join([*PREAMBLE, state.line(now), state.line(now + 4_000)]))
    lines = list(Recording(path, tail_of("trout-creek-logger")).lines())
    assert [line.t for line in lines] == [None, None, now, now + 4_000]


@pytest.mark.parametrize(
    ("name", "profile", "rows"),
    [
        ("water/trout_creek_Log00017.txt", "trout-creek-logger", 15_780),
        ("water/trout_creek_Log00010.txt", "trout-creek-logger", 211),
        ("signal/odot_hires_1136.csv", "signal-hires-log", 37_152),
    ],
)
def test_a_recording_comes_out_as_it_was(tmp_path: Path, name: str, profile: str, rows: int) -> None:
    original, out = recording(name), tmp_path / "out.txt"
    done = run("replay", original, "--profile", profile, "--speed", "0", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == original.read_bytes()
    assert done.stdout == f"{rows} lines replayed\n"


def test_times_of_a_recording_are_those_of_its_zone() -> None:
    hires = Recording(recording("signal/odot_hires_1136.csv"), tail_of("signal-hires-log"))
    first = next(line for line in hires.lines() if line.t is not None)
    assert first.t == 1_713_207_600_000, "12:00 in Oregon, daylight saving"


def test_count_stops_and_gzip_is_read(tmp_path: Path) -> None:
    packed, out = tmp_path / "creek.txt.gz", tmp_path / "out.txt"
    lines = [*PREAMBLE, *(StreamLogger(1).line(1_795_000_000_000 + n * 1_000) for n in range(10))]
    packed.write_bytes(gzip.compress(b"".join(lines)))
    log = LogFace(out)
    assert asyncio.run(replay_log(Recording(packed, tail_of("trout-creek-logger")), log, Pace(0), 4)) == 4
    assert out.read_bytes() == b"".join(lines[:6])


def test_speed_is_a_multiple_of_real_time(tmp_path: Path) -> None:
    source = tmp_path / "creek.txt"
    source.write_bytes(b"".join([*PREAMBLE, *(StreamLogger(1).line(1_795_000_000_000 + n * 60_000) for n in range(4))]))
    begun = time.monotonic()
    recorded = Recording(source, tail_of("trout-creek-logger"))
    asyncio.run(replay_log(recorded, LogFace(tmp_path / "out.txt"), Pace(360), None))
    assert 0.45 < time.monotonic() - begun < 2, "180 s at 360 times real time"


STEPPED = """
id = "stepped"
device_class = "test"
title = { en = "Stepped" }
[metrics.level]
title = { en = "Level" }
[metrics.open]
type = "boolean"
title = { en = "Open" }
[tail]
header = true
time = ["t"]
time_format = "unix"
columns = { level = { column = "level" }, open = { column = "open" } }
[modbus.registers]
level = { address = 0, type = "int16", scale = 0.1, sentinels = { 0x7fff = "no_data" } }
open = { address = 0, table = "coil", type = "bit" }
"""


def test_rows_step_through_registers(tmp_path: Path, children: Children) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "stepped.toml").write_text(STEPPED)
    rows = "t,level,open\n0,1.5,1\n1,-2.5,0\n2,NA,1\n60,9.9,1\n"
    (tmp_path / "rows.csv").write_text(rows)
    child = simulator(
        children, "replay", tmp_path / "rows.csv", "--profile", "stepped", "--profiles", tmp_path / "profiles",
        "--face", "modbus_tcp", "--speed", "2",
    )  # fmt: skip
    said = eventually(lambda: child.said() if "unit 1" in child.said() else "")
    port = int(said.split(":")[2].split()[0])

    async def watch() -> list[tuple[int, bool]]:
        seen: list[tuple[int, bool]] = []
        async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
            while len(seen) < 3:
                word = (await client.read_holding_registers(0, count=1, device_id=1)).registers[0]
                coil = (await client.read_coils(0, count=1, device_id=1)).bits[0]
                if not seen or seen[-1] != (word, coil):
                    seen.append((word, coil))
        return seen

    seen = asyncio.run(asyncio.wait_for(watch(), 20))
    words = list(dict.fromkeys(word for word, _ in seen))
    assert words == [word for word in (15, 65_511, 0x7FFF) if word in words], "in the recording's order"
    assert 65_511 in words


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.csv")
    for arguments, words in (
        (["nowhere.csv", "--profile", "trout-creek-logger", "--out", out], "nowhere.csv: No such file"),
        (["x.csv", "--profile", "nonsense"], "--profile nonsense: unknown; known profiles: air-station"),
        (["x.csv", "--profile", "kiosk", "--out", out], "has no [tail] part"),
        (["x.csv", "--profile", "trout-creek-logger"], "--out is missing"),
        (["x.csv", "--profile", "trout-creek-logger", "--face", "paper"], "--face paper: log or modbus_tcp"),
        (["x.csv", "--profile", "trout-creek-logger", "--face", "modbus_tcp"], "needs [modbus] and [tail]"),
    ):
        assert words in mistake(capsys, "replay", *arguments)
