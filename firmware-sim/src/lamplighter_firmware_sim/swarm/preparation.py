"""What a swarm was asked to do, made into what each process does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.swarm import provision
from lamplighter_firmware_sim.swarm.fleet import endpoint, raise_file_limit
from lamplighter_firmware_sim.swarm.options import Options
from lamplighter_firmware_sim.swarm.run import Phases, divide
from lamplighter_firmware_sim.swarm.worker import Credential, Share
from lamplighter_protocols.ids import agent_id

PROFILE: Final = "air-station"
SESSIONS_A_PROCESS: Final = 8_000
PATIENCE: Final = 3.0
"""Connecting may take so many times as long as the pace alone asks for."""


def prepare(options: Options, note: Callable[[str], None]) -> tuple[list[Share], Phases]:
    """Get the credentials and divide the work. Raises UsageError that says which option to change."""
    _check(options)
    url, credentials = _credentials(options, note)
    whole = Share(
        credentials=tuple(credentials),
        broker=endpoint(url),
        points=options.points,
        interval_s=1 / options.rate if options.rate else 0.0,
        window=options.window,
        heard_within_s=options.heard_within,
        connects_s=options.connect_rate,
        profile=PROFILE,
        seed=options.seed,
        backlog_s=options.backlog,
    )
    processes = options.processes or -(-options.agents // SESSIONS_A_PROCESS)
    phases = Phases(
        seconds=options.seconds,
        connect_within_s=options.connect_within or 60 + PATIENCE * options.agents / options.connect_rate,
        drain_s=options.drain,
        drop_after_s=options.drop_all_after,
        back_after_s=options.back_after,
    )
    shares = divide(whole, min(processes, options.agents))
    raise_file_limit(max(len(share.credentials) for share in shares))
    return shares, phases


def _check(options: Options) -> None:
    if options.back_after is not None and options.drop_all_after is None:
        raise UsageError("--back-after needs --drop-all-after")
    if options.drop_all_after is not None and options.drop_all_after >= options.seconds:
        raise UsageError("--drop-all-after must be less than --seconds")
    if options.backlog and not options.rate:
        raise UsageError("--backlog needs --rate: how often samples were taken")
    if options.hub and not options.token:
        raise UsageError("--hub needs --token: an administrator's API token")
    if not (options.hub or options.credentials or options.mqtt_url):
        raise UsageError("where to? --hub URL --token T, or --credentials FILE, or --mqtt-url mqtt://HOST:PORT")


def _credentials(options: Options, note: Callable[[str], None]) -> tuple[str, Sequence[Credential]]:
    if options.hub:
        return _from_hub(options, note)
    if options.credentials:
        url, found = provision.read(options.credentials)
        if len(found) < options.agents:
            raise UsageError(f"--credentials holds {len(found)} agents, --agents asks for {options.agents}")
        if not (options.mqtt_url or url):
            raise UsageError("--mqtt-url is missing: the credentials file does not name a broker")
        return options.mqtt_url or url, found[: options.agents]
    return options.mqtt_url, [Credential(agent) for agent in _ids(options)]


def _from_hub(options: Options, note: Callable[[str], None]) -> tuple[str, Sequence[Credential]]:
    url = options.mqtt_url or provision.mqtt_url(options.hub, options.token)
    if not url:
        raise UsageError("--mqtt-url is missing: the hub does not say where its broker listens")
    found: list[Credential] = []
    for part in provision.provision(options.hub, options.token, _ids(options)):
        found += part
        note(f"registered {len(found)} of {options.agents} agents")
    if options.credentials:
        provision.write(options.credentials, url, found)
    return url, found


def _ids(options: Options) -> list[str]:
    return [agent_id(f"{options.prefix}-{number:05d}") for number in range(1, options.agents + 1)]
