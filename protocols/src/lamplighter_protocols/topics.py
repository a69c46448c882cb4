"""The only module that contains a topic. Build and parse are inverse.

>>> build("kiosk-3", Channel.COMMAND, "printer-1")
'lamplighter/v1/kiosk-3/down/command/printer-1'
>>> parse("lamplighter/v1/kiosk-3/down/command/printer-1")
Address(agent='kiosk-3', channel=<Channel.COMMAND: 'command'>, device='printer-1')
>>> hub_filter(shared="workers")
'$share/workers/lamplighter/v1/+/up/#'
>>> agent_filter("kiosk-3")
'lamplighter/v1/kiosk-3/down/#'
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from lamplighter_protocols.errors import BadTopic
from lamplighter_protocols.ids import agent_id

ROOT: Final = "lamplighter/v1"
UP_PATTERN: Final = f"{ROOT}/%u/up/#"
"""What a Mosquitto `pattern write` rule allows an agent."""
DOWN_PATTERN: Final = f"{ROOT}/%u/down/#"
"""What a Mosquitto `pattern read` rule allows an agent."""
MAX_TOPIC: Final = 256
_REMEMBERED: Final = 65_536
"""Topics come again and again; a city has some 50,000 (about 300 bytes each when all are in use)."""


class Channel(StrEnum):
    """Everything that can be said between agent and hub, and in which direction."""

    BIRTH = "birth"
    PRESENCE = "presence"
    BATCH = "batch"
    SENML = "senml"
    RECEIPT = "receipt"
    DESIRED = "desired"
    COMMAND = "command"
    FETCH = "fetch"

    @property
    def goes_up(self) -> bool:
        """True when agents publish here, false when the hub does."""
        return self in _UP

    @property
    def has_device(self) -> bool:
        """True when the topic ends with a device."""
        return self in _WITH_DEVICE


_UP: Final = frozenset({Channel.BIRTH, Channel.PRESENCE, Channel.BATCH, Channel.SENML})
_WITH_DEVICE: Final = frozenset({Channel.SENML, Channel.DESIRED, Channel.COMMAND})


class Address(NamedTuple):
    """Who speaks or is spoken to, and about what. `device` is empty where the channel has none."""

    agent: str
    channel: Channel
    device: str = ""


@lru_cache(maxsize=_REMEMBERED)
def build(agent: str, channel: Channel, device: str = "") -> str:
    """Return the topic of a channel. Raises BadTopic for a bad id or a device that is missing or too much."""
    if bool(device) != channel.has_device:
        raise BadTopic(f"channel {channel} {'needs a' if channel.has_device else 'has no'} device", "device")
    direction = "up" if channel.goes_up else "down"
    tail = f"/{agent_id(device)}" if device else ""
    return f"{ROOT}/{agent_id(agent)}/{direction}/{channel}{tail}"


@lru_cache(maxsize=_REMEMBERED)
def parse(topic: str) -> Address:
    """Return what a topic means. Raises BadTopic for anything that `build` would not have made."""
    parts = topic.split("/") if len(topic) <= MAX_TOPIC else []
    if len(parts) not in (5, 6) or "/".join(parts[:2]) != ROOT:
        raise BadTopic(f"{topic[:80]!r} is not {ROOT}/AGENT/up|down/CHANNEL[/DEVICE]", "topic")
    try:
        channel = Channel(parts[4])
    except ValueError:
        raise BadTopic(f"unknown channel {parts[4][:40]!r}", "channel") from None
    address = Address(parts[2], channel, parts[5] if len(parts) == 6 else "")
    if build(*address) != topic:
        raise BadTopic(f"channel {channel} does not go {parts[3][:10]!r}", "topic")
    return address


def sender(topic: str) -> str:
    """Return the agent of any topic below the root, also of an unknown channel; empty when there is none."""
    parts = topic.split("/", 4)
    return parts[2] if len(parts) > 3 and f"{parts[0]}/{parts[1]}" == ROOT else ""


def hub_filter(shared: str = "") -> str:
    """What a hub subscribes; `shared` names the group when several workers share the load (MQTT 5, 4.8.2)."""
    return f"$share/{shared}/{ROOT}/+/up/#" if shared else f"{ROOT}/+/up/#"


def agent_filter(agent: str) -> str:
    """What an agent subscribes, and all that it may subscribe."""
    return f"{ROOT}/{agent_id(agent)}/down/#"


def publish_filter(agent: str) -> str:
    """All that an agent may publish."""
    return f"{ROOT}/{agent_id(agent)}/up/#"


def hub_publish_filter() -> str:
    """All that a hub may publish."""
    return f"{ROOT}/+/down/#"


def nats_subjects(mqtt_filter: str) -> tuple[str, ...]:
    """Return the NATS subjects that stand for an MQTT filter (`a/#` covers `a` and `a.>` on nats-server).

    >>> nats_subjects("lamplighter/v1/kiosk-3/up/#")
    ('lamplighter.v1.kiosk-3.up', 'lamplighter.v1.kiosk-3.up.>')
    """
    subject = mqtt_filter.replace("/", ".").replace("+", "*")
    return (subject[:-2], f"{subject[:-1]}>") if subject.endswith(".#") else (subject,)
