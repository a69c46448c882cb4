"""A real hub in a process of its own, started as an operator starts it."""

from __future__ import annotations

import json
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from services.ports import free_port
from services.process import Child, Children
from services.wait import eventually

BIN = Path(sys.executable).parent
READY_WITHIN_S = 40


def plain() -> ssl.SSLContext:
    """Return a context without certificates: plain HTTP needs none, and reading them costs more than the call."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Hub:
    """`lamplighter up` on a data folder; the same ports, also after `kill` and `start`."""

    data: Path
    children: Children
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    mqtt_port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> Child:
        assert self.child is not None, "the hub was not started"
        return self.child

    def start(self) -> Hub:
        """Start it and wait until it is ready."""
        argv: list[str | Path] = [BIN / "lamplighter", "up", "--data", self.data, "--port", str(self.port)]
        argv += ["--mqtt-port", str(self.mqtt_port), *self.options]
        self.child = self.children.start(argv)
        child = self.child
        eventually(lambda: self.ready() or not child.running, within_s=READY_WITHIN_S)
        assert child.running, f"the hub ended: {child.said()[-3000:]}"
        return self

    def ready(self) -> bool:
        """Whether it says of itself that it serves."""
        try:
            answer = httpx.get(f"{self.url}/healthz", timeout=2, verify=plain())
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    @property
    def token(self) -> str:
        token: str = json.loads((self.data / "cli.json").read_text())["token"]
        return token

    def api(self, method: str, path: str, *, expect: int | None = None, **more: Any) -> Any:
        """Call the API; return its JSON, or its text. `expect` is the status it must have (else any 2xx)."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        address = f"{self.url}/api/v1/{path}"
        answer = httpx.request(method, address, headers=headers, timeout=70, verify=plain(), **more)
        fine = answer.status_code == expect if expect else answer.is_success
        assert fine, f"{method} {path}: {answer.status_code} {answer.text[:1000]}"
        is_json = answer.content and "json" in answer.headers.get("content-type", "")
        return answer.json() if is_json else answer.text

    def get(self, path: str, **parameters: Any) -> Any:
        return self.api("GET", path, params=parameters)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.api("POST", path, json=body, **more)

    def device(self, device: str) -> dict[str, Any]:
        """Return a device, or an empty object when the hub does not know it yet."""
        address, headers = f"{self.url}/api/v1/devices/{device}", {"Authorization": f"Bearer {self.token}"}
        answer = httpx.get(address, headers=headers, timeout=10, verify=plain())
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found

    def latest(self, device: str) -> dict[str, Any]:
        """Return the newest value of each metric of a device."""
        return {item["metric"]: item["value"] for item in self.get(f"devices/{device}/latest")["items"]}

    def cli(self, *arguments: str) -> str:
        """Run `lamplighter` as an operator on this machine would; return what it prints."""
        done = self.children.start([BIN / "lamplighter", *arguments, "--data", self.data])
        eventually(lambda: not done.running, within_s=60)
        assert done.process.returncode == 0, f"lamplighter {' '.join(arguments)}: {done.said()[-2000:]}"
        return done.said()
