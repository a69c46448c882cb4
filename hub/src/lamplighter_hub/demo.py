"""`lamplighter up --demo`: a simulated street and its agents as child processes, enrolled like any other.

The hub knows neither simulator nor agent: it starts their programs, which are installed beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lamplighter_hub.processes import Supervised
from lamplighter_hub.settings import child_environment
from lamplighter_protocols.errors import LamplighterError

log = logging.getLogger(__name__)

READY_WITHIN_S: Final = 30.0
ENROL_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.1


class DemoUnavailable(LamplighterError):
    """A program that the demo needs is not installed, or did not come up."""


class Demo:
    """The street and its agents. `code` makes an enrolment code for an agent id."""

    def __init__(self, folder: Path, hub_url: str, code: Callable[[str], str]) -> None:
        self._folder = folder
        self._hub_url = hub_url
        self._code = code
        self._children: list[Supervised] = []

    async def start(self) -> None:
        """Bring the street up, enrol its agents where needed, and start them."""
        street = await self._start_street()
        for agent in street["agents"]:
            config = Path(agent["config"])
            if not _enrolled(config):
                await self._enrol(agent["id"], config)
            self._run(f"agent {agent['id']}", [program("lamplighter-agent"), "run", "--config", str(config)])

    async def stop(self) -> None:
        """End all of them, agents first, so that they can say farewell."""
        for child in reversed(self._children):
            await child.stop()

    async def _start_street(self) -> dict[str, Any]:
        described = self._folder / "street.json"
        described.unlink(missing_ok=True)
        self._run("street", [program("lamplighter-sim"), "street", "--dir", str(self._folder)])
        async with asyncio.timeout(READY_WITHIN_S):
            while not described.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(LOOK_EVERY_S)
        street: dict[str, Any] = json.loads(described.read_text(encoding="utf-8"))
        return street

    async def _enrol(self, agent: str, config: Path) -> None:
        command = [program("lamplighter-agent"), "enroll", self._hub_url, self._code(agent), "--config", str(config)]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=child_environment(),
        )
        async with asyncio.timeout(ENROL_WITHIN_S):
            said, _ = await process.communicate()
        if process.returncode:
            raise DemoUnavailable(f"agent {agent} could not enrol: {said.decode(errors='replace').strip()[-300:]}")

    def _run(self, name: str, command: list[str]) -> None:
        child = Supervised(name, command, self._folder / "logs" / f"{name.replace(' ', '-')}.log")
        child.start()
        self._children.append(child)


def program(name: str) -> str:
    """Return the path of a program installed beside this one. Raises DemoUnavailable that says what to install."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        member = {"lamplighter-sim": "lamplighter-firmware-sim[modbus]"}.get(name, "lamplighter-agent[modbus]")
        raise DemoUnavailable(f"--demo needs {name}: pip install '{member}'")
    return found


def _enrolled(config: Path) -> bool:
    return (config.parent / "state" / "identity.json").exists()
