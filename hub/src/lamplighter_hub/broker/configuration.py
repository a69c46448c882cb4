"""What nats-server is told: who we are to it, where it listens and keeps things, and every limit.

The secrets live as long as the hub's process: nobody else needs them, and the child does not outlive it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lamplighter_protocols import topics

LOG_FILE: Final = "nats-server.log"
HUB_USER: Final = "_hub"
"""The hub's MQTT user. Agent ids have no underscore, so nobody can be enrolled under our names."""
CALLOUT_USER: Final = "_callout"
SYSTEM_USER: Final = "_system"
KEEPER_USER: Final = "_keeper"
ACCOUNT: Final = "LAMPLIGHTER"
CALLOUT_ACCOUNT: Final = "CALLOUT"
SYSTEM_ACCOUNT: Final = "SYSTEM"
MAX_PAYLOAD: Final = 1024 * 1024
"""Twice what an envelope may have, so that a payload that is too large ends in quarantine and not in silence."""
AUTHORIZATION_TIMEOUT_S: Final = 30
"""A storm of 15,000 sessions waits for its decisions; with the default of 2 s half of them would be refused."""
MAX_UNACKNOWLEDGED: Final = 5_000
FOR_SESSIONS: Final = 256 * 1024 * 1024
"""Room for sessions beside the messages: where it is missing nobody can connect."""
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Secrets:
    """Random passwords of our own users, and the account key that signs the callout's answers."""

    issuer_seed: bytes = field(repr=False)
    issuer: str
    hub: str = field(default_factory=secrets.token_urlsafe, repr=False)
    callout: str = field(default_factory=secrets.token_urlsafe, repr=False)
    system: str = field(default_factory=secrets.token_urlsafe, repr=False)
    keeper: str = field(default_factory=secrets.token_urlsafe, repr=False)


@dataclass(frozen=True)
class NatsOptions:
    """Where the embedded broker works. A port of 0 lets the system choose one; sizes are bytes."""

    folder: Path
    host: str = "127.0.0.1"
    mqtt_port: int = 1883
    max_connections: int = 20_000
    max_store: int = 2048 * _MIB
    """What QoS 1 messages may occupy while the hub is away; beyond it they are not confirmed."""
    redeliver_after_s: int = 10
    """When a QoS 1 message that the hub did not acknowledge is given again. This server does so after a time and not
    at a reconnect: shorter is sooner after a crash, longer is fewer repetitions when the hub is behind."""
    max_retained: int = 16 * _MIB
    """Agents may retain what they like, nothing depends on it, the oldest goes."""


def write(options: NatsOptions, secret: Secrets, mqtt_port: int) -> Path:
    """Write the configuration for one start, readable by its owner only, and return its path.

    nats-server's own language contains JSON.
    """
    path = options.folder / "nats-server.conf"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(_document(options, secret, mqtt_port), file, indent=2)
        file.write("\n")
    return path


def _document(options: NatsOptions, secret: Secrets, mqtt_port: int) -> dict[str, Any]:
    return {
        "server_name": "lamplighter",
        "listen": "127.0.0.1:-1",
        "ports_file_dir": str(options.folder),
        "log_file": str(options.folder / LOG_FILE),
        "log_size_limit": 8 * _MIB,
        "logfile_max_num": 3,
        "max_connections": options.max_connections,
        "max_payload": MAX_PAYLOAD,
        "max_control_line": 4096,
        "max_subscriptions": 64,
        "jetstream": {
            "store_dir": str(options.folder / "jetstream"),
            "max_memory_store": 64 * _MIB,
            "max_file_store": options.max_store + options.max_retained + FOR_SESSIONS,
            # A killed process loses nothing that was confirmed; a power cut loses at most this much of it.
            "sync_interval": "1s",
        },
        "mqtt": {
            "host": options.host,
            "port": mqtt_port,
            "max_ack_pending": MAX_UNACKNOWLEDGED,
            "ack_wait": f"{options.redeliver_after_s}s",
            "reject_qos2_publish": True,
            "authorization": {"timeout": AUTHORIZATION_TIMEOUT_S},
        },
        "system_account": SYSTEM_ACCOUNT,
        "accounts": _accounts(secret),
        "authorization": {
            "timeout": AUTHORIZATION_TIMEOUT_S,
            "auth_callout": {
                "issuer": secret.issuer,
                "account": CALLOUT_ACCOUNT,
                "auth_users": [HUB_USER, CALLOUT_USER, SYSTEM_USER, KEEPER_USER],
            },
        },
    }


def _accounts(secret: Secrets) -> dict[str, Any]:
    hub = {
        # What comes at QoS 1 comes over a subject of the session's own.
        "subscribe": [*topics.nats_subjects(topics.hub_filter()), "$MQTT.sub.>"],
        "publish": [*topics.nats_subjects(topics.hub_publish_filter())],
    }
    return {
        ACCOUNT: {
            "jetstream": "enabled",
            "users": [
                {"user": HUB_USER, "password": secret.hub, "permissions": hub},
                {"user": KEEPER_USER, "password": secret.keeper},
            ],
        },
        CALLOUT_ACCOUNT: {"users": [{"user": CALLOUT_USER, "password": secret.callout}]},
        SYSTEM_ACCOUNT: {"users": [{"user": SYSTEM_USER, "password": secret.system}]},
    }
