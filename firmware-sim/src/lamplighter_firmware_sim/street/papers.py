"""The files that a street leaves in its folder: an agent.toml for each agent, ports, and street.json when all is up."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.street.layout import DRIVERS, Face, Place, agents

LINGER_S = 1.0
"""How long an agent of the street waits for company for a reading: short, because people watch."""


def agent_file(folder: Path, agent: str) -> Path:
    """Where an agent's configuration lies."""
    return folder / "agents" / agent / "agent.toml"


def log_file(folder: Path, place: Place) -> Path:
    """Where a logger writes."""
    return folder / "logs" / f"{place.device}.txt"


def agent_toml(folder: Path, places: Sequence[Place], host: str, ports: Mapping[str, int]) -> str:
    """Return an agent's configuration."""
    parts = ['data = "state"\nheard_within_s = 30\n', f"[link]\nlinger_s = {LINGER_S}\n"]
    parts += [_device_toml(folder, place, host, ports.get(place.device, 0)) for place in places]
    return "\n".join(parts)


def _device_toml(folder: Path, place: Place, host: str, port: int) -> str:
    lines = [
        "[[devices]]",
        f"id = {_quoted(place.device)}",
        f"profile = {_quoted(place.profile)}",
        f"driver = {_quoted(DRIVERS[place.face])}",
        f"interval_s = {place.interval_s}",
        "timeout_s = 3.0",
        "[devices.settings]",
    ]
    match place.face:
        case Face.MODBUS_TCP:
            lines += [f"host = {_quoted(host)}", f"port = {port}", "unit = 1"]
        case Face.SIMULATED:
            lines += [f"host = {_quoted(host)}", f"port = {port}", f"device = {_quoted(place.device)}"]
        case Face.LOG:
            relative = os.path.relpath(log_file(folder, place), agent_file(folder, place.agent).parent)
            lines += [f"path = {_quoted(relative)}", "poll_s = 1.0"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A JSON string without control characters is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)


def write_agents(folder: Path, street: Sequence[Place], host: str, ports: Mapping[str, int]) -> None:
    """Write each agent.toml that is not there or says something else."""
    for agent, places in agents(street).items():
        path, text = agent_file(folder, agent), agent_toml(folder, places, host, ports)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            replace_file(path, text)


def read_ports(folder: Path) -> dict[str, int]:
    """Return the ports of the last time; none when there was no last time or the file is spoilt."""
    try:
        said = json.loads((folder / "ports.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {name: port for name, port in said.items() if isinstance(port, int) and 0 < port < 65_536}


def write_ports(folder: Path, ports: Mapping[str, int]) -> None:
    """Remember the ports for the next time."""
    replace_file(folder / "ports.json", json.dumps(dict(ports), indent=1))


def describe(folder: Path, street: Sequence[Place], host: str, ports: Mapping[str, int]) -> dict[str, Any]:
    """Return what street.json says."""
    return {
        "agents": [{"id": agent, "config": str(agent_file(folder, agent).resolve())} for agent in agents(street)],
        "devices": [
            {
                "id": place.device,
                "agent": place.agent,
                "profile": place.profile,
                "face": str(place.face),
                "address": address(folder, place, host, ports),
            }
            for place in street
        ],
    }


def address(folder: Path, place: Place, host: str, ports: Mapping[str, int]) -> str:
    """Return where a device is reached."""
    if place.face is Face.LOG:
        return str(log_file(folder, place).resolve())
    scheme = {Face.MODBUS_TCP: "modbus-tcp", Face.SIMULATED: "tcp"}[place.face]
    return f"{scheme}://{host}:{ports[place.device]}"


def prepare(folder: Path) -> None:
    """Make the folder, and take away the last street.json: it says that everything listens. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "street.json").unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"--dir {folder}: {error.strerror}") from None


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
