"""The street's kiosk behind its agent, and what can be done with it through the API."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.agent import PROGRAM, Agent
from services.hub import Hub
from services.process import Children
from services.sim import street
from services.wait import eventually

KIOSK: Final = "kiosk-1"
AGENT: Final = "town-hall"


@dataclass
class Kiosk:
    """The kiosk with its agent, on a hub."""

    hub: Hub
    agent: Agent

    def present(self) -> Kiosk:
        """Wait until it is online, with an agent that is started where it was not running."""
        if not self.agent.running.running:
            self.agent.start()
        eventually(lambda: self.hub.device(KIOSK).get("state") == "online", within_s=40)
        return self

    def away(self) -> None:
        """kill -9 of the agent, and wait until the hub knows."""
        self.agent.running.kill()
        eventually(lambda: self.hub.device(KIOSK).get("state") == "offline", within_s=20)

    def send(self, name: str, *, expires_in_s: int = 60, key: str = "", **args: Any) -> dict[str, Any]:
        """Send a command; return it as accepted."""
        headers = {"Idempotency-Key": key} if key else {}
        body = {"name": name, "args": args, "expires_in_s": expires_in_s}
        command: dict[str, Any] = self.hub.post(f"devices/{KIOSK}/commands", body, headers=headers)
        return command

    def ended(self, command: dict[str, Any], within_s: float = 30) -> dict[str, Any]:
        """Wait for a command's end; return it."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.hub.get(f"commands/{command['id']}")
            return found if found["finished_at"] else None

        return eventually(look, within_s=within_s) or {}

    def told(self) -> dict[str, Any]:
        """Return what the agent itself says of its commands and configuration."""
        argv = [str(PROGRAM), "status", "--config", str(self.agent.config), "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def configuration(self) -> dict[str, Any]:
        """Return the configuration as the API shows it."""
        found: dict[str, Any] = self.hub.get(f"devices/{KIOSK}/configuration")
        return found

    def configure(self, document: dict[str, Any], **more: Any) -> Any:
        """Set the kiosk's own fields."""
        return self.hub.api("PUT", f"devices/{KIOSK}/configuration", json={"document": document}, **more)

    def answered(self, state: str, within_s: float = 30) -> dict[str, Any]:
        """Wait until the desired document has come to a state; return the configuration."""

        def look() -> dict[str, Any] | None:
            found = self.configuration()
            return found if found["state"] == state else None

        return eventually(look, within_s=within_s) or {}


def kiosk_on(hub: Hub, folder: Path, children: Children) -> Kiosk:
    """Start a street, and the agent of its kiosk, enrolled and online."""
    described = street(children, folder)
    config = next(Path(agent["config"]) for agent in described["agents"] if agent["id"] == AGENT)
    return Kiosk(hub, Agent(AGENT, config.parent, children).enroll(hub).start()).present()
