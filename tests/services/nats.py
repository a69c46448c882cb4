"""The embedded broker on a free loopback port, for tests that need it without a hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lamplighter_hub.broker.callout import ConnectRequest, Decide
from lamplighter_hub.broker.nats import NatsOptions, NatsServer


def secret_of(agent: str) -> str:
    """The password that `knows_everybody` accepts."""
    return f"secret-of-{agent}"


def knows_everybody(request: ConnectRequest) -> str | None:
    """Let in whoever says the right password."""
    return None if request.password == secret_of(request.username) else "wrong password"


@dataclass
class Embedded:
    """A server and whom it refused, with the reason."""

    server: NatsServer
    refused: list[tuple[ConnectRequest, str]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port


@contextlib.contextmanager
def nats_server(
    folder: Path, decide: Decide = knows_everybody, port: int = 0, redeliver_after_s: int = 1
) -> Iterator[Embedded]:
    """Start the embedded broker; `port` 0 takes a free one."""
    refused: list[tuple[ConnectRequest, str]] = []
    options = NatsOptions(folder, mqtt_port=port, redeliver_after_s=redeliver_after_s)
    embedded = Embedded(NatsServer(options, decide, lambda request, why: refused.append((request, why))), refused)
    embedded.server.start()
    try:
        yield embedded
    finally:
        embedded.server.stop()
