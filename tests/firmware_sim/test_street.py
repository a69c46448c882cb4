"""The street as a process: it listens, it lives, it keeps its ports, and it ends when it should."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymodbus.client import AsyncModbusTcpClient

from firmware_sim.programs import mistake, run
from lamplighter_protocols.profile import load_profiles
from services.ports import listens
from services.process import Children
from services.sim import PROGRAM, street
from services.wait import eventually

pytestmark = pytest.mark.services


def address(described: dict[str, Any], device: str) -> str:
    found: str = next(item["address"] for item in described["devices"] if item["id"] == device)
    return found


def port_of(described: dict[str, Any], device: str) -> int:
    return urlsplit(address(described, device)).port or 0


def ask(port: int, request: dict[str, Any]) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stream, stream.makefile("rwb") as lines:
        lines.write(json.dumps(request).encode() + b"\n")
        lines.flush()
        answer: dict[str, Any] = json.loads(lines.readline())
        return answer


def registers(port: int, first: int, count: int, *, inputs: bool = False) -> list[int]:
    async def read() -> list[int]:
        async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
            call = client.read_input_registers if inputs else client.read_holding_registers
            answer = await call(first, count=count, device_id=1)
            assert not answer.isError()
            return list(answer.registers)

    return asyncio.run(read())


DRIVERS = {
    "air-1": "modbus",
    "noise-1": "modbus",
    "flood-1": "modbus",
    "creek-1": "tail",
    "kiosk-1": "simulated",
    "signal-1": "simulated",
}


def configured_devices(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the agents' configurations say of their devices."""
    found: dict[str, dict[str, Any]] = {}
    for agent in described["agents"]:
        configured = tomllib.loads(Path(agent["config"]).read_text())
        assert configured["data"] == "state"
        found |= {device["id"]: device for device in configured["devices"]}
    return found


def test_a_street_writes_its_agents_configurations(tmp_path: Path, children: Children) -> None:
    described = street(children, tmp_path / "street")
    assert [agent["id"] for agent in described["agents"]] == ["station-road", "mill-creek", "town-hall", "junction-12"]
    devices = configured_devices(described)
    assert {name: device["driver"] for name, device in devices.items()} == DRIVERS
    assert {device["profile"] for device in devices.values()} <= load_profiles().keys()
    for name, device in devices.items():
        if device["driver"] != "tail":
            assert device["settings"]["port"] == port_of(described, name)
    log = Path(described["agents"][1]["config"]).parent / devices["creek-1"]["settings"]["path"]
    assert Path(address(described, "creek-1")) == log.resolve()


def test_a_street_lives_and_ends(tmp_path: Path, children: Children) -> None:
    described = street(children, tmp_path / "street", "--speed", "5")
    for device, first, inputs in (("air-1", 7, False), ("noise-1", 0, True), ("flood-1", 0, True)):
        moves(port_of(described, device), first, inputs=inputs)
    signal_port = port_of(described, "signal-1")
    eventually(lambda: ask(signal_port, {"op": "read"})["metrics"]["phase_2"] == "green", within_s=20)
    assert "paper_left" in ask(port_of(described, "kiosk-1"), {"op": "read", "device": "kiosk-1"})["metrics"]
    writes_present_times(Path(address(described, "creek-1")))

    child = children.started[-1]
    assert "modbus-tcp://127.0.0.1:" in child.said()
    assert child.stop() == 0
    assert child.said().splitlines()[-1] == "The street is closed."
    assert not listens(signal_port)


def moves(port: int, first: int, *, inputs: bool) -> None:
    before = registers(port, first, 3, inputs=inputs)
    eventually(lambda: registers(port, first, 3, inputs=inputs) != before)


def writes_present_times(log: Path) -> None:
    lines = eventually(lambda: log.read_text().splitlines()[3:], within_s=20)
    written = datetime.strptime(lines[-1].split(",")[0], "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - written).total_seconds()) < 15


def test_a_second_start_keeps_the_ports_that_are_free(tmp_path: Path, children: Children) -> None:
    folder = tmp_path / "street"
    first = street(children, folder)
    children.started[-1].kill()
    papers = {path: path.stat().st_mtime_ns for path in folder.rglob("agent.toml")}
    taken = port_of(first, "kiosk-1")
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", taken))
        occupant.listen()
        child = children.start([PROGRAM, "street", "--dir", folder])
        eventually(lambda: "for agent junction-12" in child.said(), within_s=20)
    second = json.loads((folder / "street.json").read_text())
    for name in ("air-1", "noise-1", "flood-1", "signal-1"):
        assert port_of(second, name) == port_of(first, name)
    assert port_of(second, "kiosk-1") != taken
    changed = {path.parent.name for path, before in papers.items() if path.stat().st_mtime_ns != before}
    assert changed == {"town-hall"}


def test_the_street_ends_with_whoever_started_it(tmp_path: Path, children: Children) -> None:
    folder = tmp_path / "street"
    program = f"import subprocess,sys; subprocess.run([{str(PROGRAM)!r}, 'street', '--dir', {str(folder)!r}])"
    parent = children.start([sys.executable, "-c", program])
    eventually((folder / "street.json").exists, within_s=20)
    port = port_of(json.loads((folder / "street.json").read_text()), "air-1")
    assert listens(port)
    parent.kill()
    eventually(lambda: not listens(port))


def test_sigterm_ends_it(tmp_path: Path, children: Children) -> None:
    street(children, tmp_path / "street")
    child = children.started[-1]
    child.signal(signal.SIGTERM)
    assert child.process.wait(10) == 0


def test_faults_come_and_go(tmp_path: Path, children: Children) -> None:
    described = street(
        children, tmp_path / "street", "--fault", "air-1:sensor:0:3600", "--fault", "kiosk-1:silent:0:3600"
    )
    eventually(lambda: registers(port_of(described, "air-1"), 7, 1) == [0xFFFF])
    assert ask(port_of(described, "kiosk-1"), {"op": "read"})["error"]["kind"] == "retriable"


def test_an_accelerated_world_still_reports_the_present(tmp_path: Path, children: Children) -> None:
    described = street(children, tmp_path / "street", "--speed", "100")
    port = port_of(described, "signal-1")
    events = eventually(lambda: (found := ask(port, {"op": "read"})["events"])[40:] and found)
    now = datetime.now(UTC).timestamp() * 1000
    assert all(now - 60_000 < event["t"] <= now for event in events)
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    mistakes: list[tuple[list[str | Path], str]] = [
        (["--dir", tmp_path / "file"], "File exists"),
        (["--dir", tmp_path, "--speed", "0"], "--speed 0: must be above 0"),
        (["--dir", tmp_path, "--host", "203.0.113.1"], "--host 203.0.113.1: cannot listen there"),
        (["--dir", tmp_path, "--fault", "air-1:tired:1:1"], "write DEVICE:sensor|silent:AFTER_S:FOR_S"),
        (["--dir", tmp_path, "--fault", "air-7:silent:1:1"], "no device 'air-7'"),
    ]
    for arguments, words in mistakes:
        assert words in mistake(capsys, "street", *arguments)


def test_help_has_examples() -> None:
    for command in ("street", "replay", "swarm"):
        said = run(command, "--help").stdout
        assert "Examples:" in said
        assert f"  lamplighter-sim {command} " in said
    assert run().returncode != 0


def test_the_street_is_quick_to_start() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import lamplighter_firmware_sim.cli"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert "pymodbus" not in done.stderr
