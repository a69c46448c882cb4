"""Configuration of a Mosquitto that somebody else runs: who may connect, what they may say, and limits.

A folder holds everything:

    mosquitto.conf   made once; the operator's own lines (TLS, a bridge) go into local.d/*.conf
    acl              two patterns for all agents, from the wire contract
    passwords        one line an agent, written anew at each enrolment; Mosquitto is told by SIGHUP
    hub.password     the hub's own secret
    mosquitto.pid    where Mosquitto says which process to tell

The registry keeps two verifiers of an agent's secret, both made at enrolment when the secret is known for a moment:
its own, and the line that Mosquitto understands (`mosquitto_hash`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.broker.configuration import HUB_USER, MAX_PAYLOAD, MAX_UNACKNOWLEDGED
from lamplighter_protocols import topics
from lamplighter_protocols.ids import agent_id

ITERATIONS: Final = 101
"""Mosquitto 2.0's own number. Our secrets are random; stretching would add nothing but the cost of a storm."""
MAX_QUEUED: Final = 200_000
MAX_QUEUED_BYTES: Final = 512 * 1024 * 1024
MAX_CONNECTIONS: Final = 20_000
LOCAL: Final = "local.d"

_CONFIGURATION: Final = """\
# Made by lamplighter. Own lines belong into {local}/*.conf, for instance TLS for the listener.
listener {port} {host}
max_connections {max_connections}
# The client id is the user name whatever a client says, so that nobody can take over another's session.
use_username_as_clientid true

allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
pid_file {folder}/mosquitto.pid

# Messages of QoS 1 that the hub has not committed yet, and those that wait while it is away.
max_inflight_messages {max_inflight}
max_queued_messages {max_queued}
max_queued_bytes {max_queued_bytes}
queue_qos0_messages false
max_packet_size {max_packet}
# Nothing we depend on is retained; who retains is disconnected instead of filling the memory.
retain_available false

persistence true
persistence_location {folder}/
autosave_interval 30
set_tcp_nodelay true
include_dir {local}
"""


class Listen(NamedTuple):
    """Where Mosquitto listens."""

    host: str = "127.0.0.1"
    port: int = 1883


class Generated(NamedTuple):
    """What was written: the file for `mosquitto -c`, and the hub's URL with its credentials (never log it)."""

    configuration: Path
    url: str


def mosquitto_hash(secret: str) -> str:
    """Return the verifier of a secret as Mosquitto >= 2.0 stores it: `$7$`, PBKDF2 with HMAC-SHA512."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, ITERATIONS, 64)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def write_configuration(folder: Path, listen: Listen, agents: Mapping[str, str]) -> Generated:
    """Write a complete configuration into `folder`; `agents` maps agent ids to what `mosquitto_hash` returned.

    The hub's secret is made once and kept. Raises OSError, and BadTopic for an agent id that is none.
    """
    folder = folder.resolve()
    local = folder / LOCAL
    local.mkdir(parents=True, exist_ok=True)
    _hub_secret(folder)
    _replace(folder / "acl", _acl())
    refresh_passwords(folder, agents)
    configuration = folder / "mosquitto.conf"
    _replace(configuration, _configuration(folder, local, listen))
    return Generated(configuration, hub_url(folder, listen))


def refresh_passwords(folder: Path, agents: Mapping[str, str]) -> bool:
    """Write the password file anew, all or nothing, and tell Mosquitto. Returns whether it could be told.

    Mosquitto disconnects who is no longer in the file. Raises OSError.
    """
    folder = folder.resolve()
    lines = [f"{HUB_USER}:{mosquitto_hash(_hub_secret(folder))}"]
    lines += [f"{agent_id(agent)}:{verifier}" for agent, verifier in sorted(agents.items())]
    _replace(folder / "passwords", "\n".join(lines) + "\n")
    return _reload(folder / "mosquitto.pid")


def hub_url(folder: Path, listen: Listen) -> str:
    """Return the `--mqtt-url` of the hub for this Mosquitto."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(listen.host, listen.host)  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"mqtt://{HUB_USER}:{_hub_secret(folder)}@{host}:{listen.port}"


def _configuration(folder: Path, local: Path, listen: Listen) -> str:
    return _CONFIGURATION.format(
        folder=folder,
        local=local,
        host=listen.host,
        port=listen.port,
        max_connections=MAX_CONNECTIONS,
        max_inflight=MAX_UNACKNOWLEDGED,
        max_queued=MAX_QUEUED,
        max_queued_bytes=MAX_QUEUED_BYTES,
        max_packet=MAX_PAYLOAD + topics.MAX_TOPIC + 16,
    )


def _acl() -> str:
    return (
        f"user {HUB_USER}\n"
        f"topic read {topics.hub_filter()}\n"
        f"topic write {topics.hub_publish_filter()}\n"
        f"pattern write {topics.UP_PATTERN}\n"
        f"pattern read {topics.DOWN_PATTERN}\n"
    )


def _hub_secret(folder: Path) -> str:
    path = folder / "hub.password"
    with suppress(FileNotFoundError):
        return path.read_text("ascii").strip()
    secret = secrets.token_urlsafe()
    _replace(path, secret + "\n", mode=0o600)
    return secret


def _replace(path: Path, text: str, mode: int = 0o640) -> None:
    """Write a file so that a reader sees the old or the new one, also after a power cut.

    The group may read: a folder with the group of Mosquitto's user and the set-group-id bit lets it in.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _reload(pid_file: Path) -> bool:
    """Send SIGHUP to the Mosquitto that wrote the file, unless its number belongs to somebody else by now."""
    try:
        pid = int(pid_file.read_text("ascii"))
        if Path(f"/proc/{pid}/comm").read_text("ascii").strip() != "mosquitto":
            return False
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError):
        return False
    return True
