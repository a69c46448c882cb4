"""A real InfluxDB 2 on a free loopback port, set up with an organisation and a token that nobody else knows."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx

from services.need import need
from services.ports import free_port
from services.process import Child, Children
from services.wait import eventually

ORG = "city"
READY_WITHIN_S = 30


@dataclass
class Influxd:
    """One server with its files below a folder; the same port, token and data, also after `kill` and `start`."""

    folder: Path
    children: Children
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    child: Child | None = None
    _org_id: str = ""

    @property
    def environment(self) -> str:
        """What a child process needs to know of it."""
        return f"{self.port} {self.token} {self._org_id}"

    @classmethod
    def from_environment(cls, text: str) -> Influxd:
        """Return a server that another process started."""
        port, token, org_id = text.split()
        return cls(Path(), Children(Path()), int(port), token, _org_id=org_id)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def series_url(self, bucket: str) -> str:
        """Return what `--series-url` takes."""
        return f"{self.url}?{urlencode({'org': ORG, 'bucket': bucket})}"

    def start(self) -> Influxd:
        """Start it, wait until it is ready, and set it up the first time."""
        program = need("influxd")
        argv: list[str | Path] = [program, "--http-bind-address", f"127.0.0.1:{self.port}", "--reporting-disabled"]
        argv += ["--bolt-path", self.folder / "influxd.bolt", "--sqlite-path", self.folder / "influxd.sqlite"]
        argv += ["--engine-path", self.folder / "engine", "--log-level", "error", "--ui-disabled"]
        self.child = child = self.children.start(argv)
        eventually(lambda: self.ready() or not child.running, within_s=READY_WITHIN_S)
        assert child.running, f"influxd ended: {child.said()[-3000:]}"
        if not self._org_id:
            self._set_up()
        return self

    def ready(self) -> bool:
        """Whether it says of itself that it serves."""
        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _set_up(self) -> None:
        wanted = {"username": "admin", "password": self.token, "token": self.token, "org": ORG, "bucket": "first"}
        answer = httpx.post(f"{self.url}/api/v2/setup", json={**wanted, "retentionPeriodSeconds": 0}, timeout=30)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        self._org_id = answer.json()["org"]["id"]

    def make_bucket(self, name: str, *, keeps_s: int = 0) -> str:
        """Make a bucket that keeps everything, unless `keeps_s` says how long; return its name."""
        rules = [{"type": "expire", "everySeconds": keeps_s}]
        answer = self.call("POST", "buckets", json={"orgID": self._org_id, "name": name, "retentionRules": rules})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return name

    def token_for(self, name: str) -> str:
        """Return a new token that may read and write one bucket, and nothing else."""
        (bucket,) = self.call("GET", "buckets", params={"name": name}).json()["buckets"]
        resource = {"type": "buckets", "id": bucket["id"], "orgID": self._org_id}
        permissions = [{"action": action, "resource": resource} for action in ("read", "write")]
        answer = self.call("POST", "authorizations", json={"orgID": self._org_id, "permissions": permissions})
        token: str = answer.json()["token"]
        return token

    def drop_bucket(self, name: str) -> None:
        """Delete a bucket and what it holds."""
        for bucket in self.call("GET", "buckets", params={"name": name}).json().get("buckets", ()):
            self.call("DELETE", f"buckets/{bucket['id']}")

    def call(self, method: str, path: str, **more: object) -> httpx.Response:
        """Call its API with the token."""
        headers = {"Authorization": f"Token {self.token}"}
        return httpx.request(method, f"{self.url}/api/v2/{path}", headers=headers, timeout=30, **more)  # type: ignore[arg-type]

    def kill(self) -> None:
        """kill -9."""
        assert self.child is not None
        self.child.kill()

    def stop(self) -> None:
        """End it cleanly: it listens to SIGINT only."""
        if self.child is not None and self.child.running:
            self.child.stop()


@contextlib.contextmanager
def influxd(folder: Path) -> Iterator[Influxd]:
    """Run a server for as long as the block."""
    folder.mkdir(parents=True, exist_ok=True)
    children = Children(folder)
    server = Influxd(folder, children)
    try:
        yield server.start()
        server.stop()
    finally:
        children.end()
