"""A real agent in a process of its own, enrolled and started as a technician does it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from services.hub import Hub
from services.process import Child, Children
from services.wait import eventually

_BROKER_URL = re.compile(r"mqtt://127\.0\.0\.1:\d+")
PROGRAM = Path(sys.executable).parent / "lamplighter-agent"


@dataclass
class Agent:
    """One agent with its folder: `agent.toml` and its state."""

    name: str
    folder: Path
    children: Children
    child: Child | None = None

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def running(self) -> Child:
        assert self.child is not None, "the agent was not started"
        return self.child

    def configure(self, text: str) -> Agent:
        """Write its agent.toml."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(text)
        return self

    def enroll(self, hub: Hub) -> Agent:
        """Enrol with a fresh code of the hub."""
        code = hub.post("enrolment-codes", {"agent": self.name})["code"]
        done = self.children.start([PROGRAM, "enroll", hub.url, code, "--config", self.config])
        eventually(lambda: not done.running, within_s=30)
        assert done.process.returncode == 0, done.said()[-2000:]
        return self

    def reach(self, port: int) -> Agent:
        """Let it reach its broker at another port: through a proxy."""
        identity = self.folder / "state" / "identity.json"
        text, found = _BROKER_URL.subn(f"mqtt://127.0.0.1:{port}", identity.read_text())
        assert found == 1, text
        identity.write_text(text)
        return self

    def start(self) -> Agent:
        self.child = self.children.start([PROGRAM, "run", "--config", self.config])
        return self
