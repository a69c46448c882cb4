"""A hub's services on real stores, with a clock that tests move and a downlink that tests read."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lamplighter_hub.access.roles import Principal, Role
from lamplighter_hub.api import create_app
from lamplighter_hub.assembly import Stores, join
from lamplighter_hub.http_server import HttpServer, listen
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.services import Services
from lamplighter_hub.settings import Settings
from lamplighter_protocols.commands import Cancel, Command, Fetch
from lamplighter_protocols.configuration import Desired
from lamplighter_protocols.model import WireModel
from lamplighter_protocols.presence import Birth
from lamplighter_protocols.profile import Profile, parse_profile
from lamplighter_protocols.signing import open_signed
from lamplighter_protocols.topics import Address, parse
from services.wait import eventually

START = 1_795_476_672_000
BOOT = "01M80T5JNV0000000000000000"
OPERATOR = Principal("token", "operator", "operator", Role.OPERATOR)
VIEWER = Principal("token", "viewer", "viewer", Role.VIEWER)

PROFILE = """
id = "lamp"
device_class = "street-light"
title = {en = "Lamp", zh = "路灯"}

[metrics.power]
unit = "W"
title = {en = "Power", zh = "功率"}

[configuration.interval_s]
type = "number"
min = 0.5
max = 3600
default = 10

[configuration.label]
type = "string"
max_length = 20

[configuration.dimmed]
type = "boolean"
default = false

[commands.switch]
title = {en = "Switch", zh = "开关"}
max_expiry_s = 600
timeout_s = 10
[commands.switch.args.on]
type = "boolean"
required = true
[commands.switch.args.level]
type = "integer"
min = 0
max = 100
default = 100

[commands.cut_power]
title = {en = "Cut power", zh = "断电"}
hazard = "dangerous"
"""


class Clock:
    """Milliseconds that stand still until a test moves them."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> int:
        self.now += int(seconds * 1000)
        return self.now


class Down:
    """What went down, with its signatures checked."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.keys: HubKeys | None = None

    def __call__(self, topic: str, payload: bytes) -> None:
        self.sent.append((topic, payload))

    def _verify(self, kid: str, signing_input: bytes, signature: bytes) -> bool:
        assert self.keys is not None
        raw = {key.kid: key.public_key for key in self.keys.public()}[kid]
        key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(raw + "="))
        key.verify(signature, signing_input)
        return True

    def take(self) -> list[tuple[Address, Command | Cancel | Desired | Fetch]]:
        """Return what was sent since the last time, verified and read."""
        found: list[tuple[Address, Command | Cancel | Desired | Fetch]] = []
        models: dict[str, type[WireModel]] = {
            "command": Command,
            "cancel": Cancel,
            "configuration": Desired,
            "fetch": Fetch,
        }
        for topic, payload in self.sent:
            raw = open_signed(payload, self._verify)
            document = models[json.loads(raw)["type"]].model_validate_json(raw)
            assert isinstance(document, Command | Cancel | Desired | Fetch)
            found.append((parse(topic), document))
        self.sent.clear()
        return found

    def names(self) -> list[str]:
        """Return the kinds and ids of what was sent since the last time."""
        return [f"{document.type} {getattr(document, 'id', '')}".strip() for _, document in self.take()]


class BrokerSide:
    """What the hub asked of its broker."""

    def __init__(self) -> None:
        self.kicked: list[str] = []
        self.changes = 0

    def hash_password(self, password: str) -> str:
        return "plain:" + hashlib.sha256(password.encode()).hexdigest()

    def kick(self, agent: str) -> None:
        self.kicked.append(agent)

    def identities_changed(self) -> None:
        self.changes += 1


def mqtt_url(host: str) -> str:
    return f"mqtt://{host}:1883"


class Rig:
    """One hub without broker, uplink and ingest: tests play those."""

    def __init__(self, data: Path, clock: Clock | None = None, registry_url: str = "") -> None:
        self.data = data
        self.registry_url = registry_url or sqlite_url(data)
        self.clock = clock or Clock()
        self.down = Down()
        self.broker = BrokerSide()
        self.profiles: dict[str, Profile] = {"lamp": parse_profile(PROFILE)}
        self.hub = self._start()

    def _start(self) -> Services:
        registry = Database(self.registry_url)
        registry.upgrade()
        keys = self.down.keys = HubKeys(self.data)
        keys.load()
        settings = Settings(data=self.data, verify_mb_s=1_000)
        stores = Stores(registry, keys, open_duckdb(self.data))
        return join(settings, self.clock, self.profiles, stores, self.broker, self.down, mqtt_url)

    def crash(self) -> Services:
        """Start again from what is on the disk, without any farewell."""
        self.close()
        self.hub = self._start()
        return self.hub

    def close(self) -> None:
        self.hub.verification.close()
        self.hub.series.close()
        self.hub.backups.close()
        self.hub.registry.close()

    def birth(
        self,
        agent: str,
        devices: Sequence[str | tuple[str, int, str]] = (),
        *,
        session: int = 1,
        profile: str = "lamp",
    ) -> None:
        """Let an agent be born now; a device is an id, or (id, version, hash)."""
        self.hub.devices.born([(agent, birth(devices, session=session, profile=profile), self.clock())])

    def street(self, *devices: str) -> None:
        """Enrol `agent-1` and let it be born with devices."""
        self.hub.enrolment.provision(["agent-1"], "test")
        self.birth("agent-1", devices)

    def token(self, role: Role = Role.ADMINISTRATOR) -> str:
        return self.hub.access.new_token(f"test {role}", role, "test")[1]


def birth(
    devices: Sequence[str | tuple[str, int, str]] = (), *, session: int = 1, profile: str = "lamp", **more: Any
) -> Birth:
    """Word a birth."""
    named = [(device, 0, "") if isinstance(device, str) else device for device in devices]
    born = [{"id": name, "profile": profile, "version": version, "hash": digest} for name, version, digest in named]
    fields = {"session": session, "boot": BOOT, "heard_within_s": 30, "sent": START, "devices": born} | more
    return Birth.model_validate(fields)


@contextmanager
def rig(data: Path, registry_url: str = "") -> Iterator[Rig]:
    """Make a rig on SQLite in its folder, or on the registry that is given."""
    made = Rig(data, registry_url=registry_url)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def serving(hub: Services) -> Iterator[str]:
    """Serve the API on a real port; yields its address."""
    listener = listen("127.0.0.1", 0)
    server: uvicorn.Server = HttpServer(create_app(hub))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def calling(hub: Services, token: str = "") -> Iterator[httpx.Client]:
    """A client of the served API."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with serving(hub) as url, closing(httpx.Client(base_url=url, headers=headers, timeout=30)) as client:
        yield client
