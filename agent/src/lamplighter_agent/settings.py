"""agent.toml: read, checked, and every mistake said in a line that names file, key and fix."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lamplighter_agent.errors import Mistake
from lamplighter_agent.guard import Rules
from lamplighter_protocols.envelope import COMPRESS_ABOVE
from lamplighter_protocols.errors import BadProfile
from lamplighter_protocols.ids import DeviceId
from lamplighter_protocols.presence import MAX_DEVICES
from lamplighter_protocols.profile import Profile, load_profiles
from lamplighter_protocols.wording import worded

MOST_MISTAKES: Final = 20
EXAMPLE: Final = """\
# lamplighter-agent: what stands here is read at start; `lamplighter-agent check` says whether it is right.
data = "state"                 # identity, configuration and outbox; relative to this file
# heard_within_s = 30          # what the agent promises: something is heard at least this often
# profiles = ["profiles"]      # folders with your own profiles

# [link]
# kind = "cellular"            # waits longer, packs tighter; default: "ethernet"
# data_budget_mb_per_day = 5   # what a day may cost

# [[devices]]
# id = "air-1"
# profile = "air-station"
# driver = "modbus"
# interval_s = 2.0             # else the profile's
# [devices.settings]
# host = "127.0.0.1"
# port = 502
# unit = 1
"""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceSettings(_Section):
    """One `[[devices]]`. `settings` are the driver's own; `rules` restrict commands on this device."""

    id: DeviceId
    profile: str
    driver: str
    interval_s: Annotated[float, Field(ge=0.05, le=86_400)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    settings: dict[str, Any] = {}
    rules: Rules = Rules()


class OutboxSettings(_Section):
    """`[outbox]`: how many bytes of records may wait for the hub."""

    max_bytes: Annotated[int, Field(ge=64 * 1024)] = 256 * 1024 * 1024


class LinkKind(StrEnum):
    """What the link is like; it chooses the defaults of the other settings."""

    ETHERNET = "ethernet"
    CELLULAR = "cellular"


class Habits(NamedTuple):
    """How an agent uses a kind of link. `least_promise_s`: how rarely it may be heard when nothing tells otherwise."""

    linger_s: float
    backlog_linger_s: float
    compress_above: int
    compress_level: int
    keepalive_s: int
    least_promise_s: int
    report_s: float


HABITS: Final = {
    LinkKind.ETHERNET: Habits(5.0, 1.0, COMPRESS_ABOVE, 6, 60, 1, 3_600.0),
    LinkKind.CELLULAR: Habits(60.0, 60.0, 256, 9, 240, 300, 900.0),
}


class LinkSettings(_Section):
    """`[link]`: how readings wait for company and travel (alarms never wait), and what a day of it may cost.

    `linger_s` is the longest wait of live readings: 5 on ethernet, 60 on cellular when not given; a profile's
    `max_wait_s` may shorten it. A batch has at most `batch_bytes` of JSON; above `compress_above` bytes (1024; 256 on
    cellular) it is compressed with zlib's `compress_level` (6; 9). `backlog_share` is the part of the link's time that
    backlog may take; at 1 it is sent as fast as it goes. `data_budget_mb_per_day` (10^6 bytes a day in UTC, up and
    down, with the headers of TCP and IP) is kept on any kind of link; without it nothing is limited.
    """

    kind: LinkKind = LinkKind.ETHERNET
    linger_s: Annotated[float, Field(ge=0, le=3_600)] | None = None
    batch_bytes: Annotated[int, Field(ge=4_096, le=262_144)] = 65_536
    compress_above: Annotated[int, Field(ge=64, le=1_048_576)] | None = None
    compress_level: Annotated[int, Field(ge=1, le=9)] | None = None
    backlog_share: Annotated[float, Field(ge=0.01, le=1)] = 0.5
    data_budget_mb_per_day: Annotated[float, Field(ge=0.1, le=1_000_000)] | None = None

    @field_validator("data_budget_mb_per_day")
    @classmethod
    def _is_counted(cls, given: float | None) -> float | None:
        if given is not None and not hasattr(socket, "TCP_INFO"):
            raise ValueError("needs Linux, which says what a connection carries; remove it")
        return given

    @property
    def habits(self) -> Habits:
        """Return the habits of this kind of link with what is set here in place."""
        own = self.model_dump(include={"linger_s", "compress_above", "compress_level"}, exclude_none=True)
        return HABITS[self.kind]._replace(**own)

    @property
    def budget_bytes(self) -> int | None:
        """The data budget of a day in bytes."""
        return None if self.data_budget_mb_per_day is None else round(self.data_budget_mb_per_day * 1_000_000)


class Settings(_Section):
    """The whole of agent.toml. `file` is where it was read; paths in it are relative to its folder."""

    file: Path
    data: Path = Path("state")
    heard_within_s: Annotated[int, Field(ge=1, le=86_400)] | None = None
    profiles: list[Path] = []
    outbox: OutboxSettings = OutboxSettings()
    link: LinkSettings = LinkSettings()
    devices: Annotated[list[DeviceSettings], Field(max_length=MAX_DEVICES)] = []

    @property
    def folder(self) -> Path:
        """The folder of agent.toml."""
        return self.file.parent

    @property
    def data_folder(self) -> Path:
        """Where identity, configuration and outbox are kept."""
        return self.folder / self.data

    def key(self, device: DeviceSettings, *parts: str) -> str:
        """Return how a device's key is written in a message."""
        return ".".join(("devices", device.id, *parts))


def load(file: Path) -> Settings:
    """Read agent.toml. Raises Mistake."""
    raw = _read(file)
    try:
        settings = Settings.model_validate({**raw, "file": file.resolve()})
    except ValidationError as error:
        raise mistake(file, error, raw) from None
    seen: set[str] = set()
    for device in settings.devices:
        if device.id in seen:
            raise Mistake(file, settings.key(device, "id"), "is used twice; give each device its own id")
        seen.add(device.id)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fix = "`lamplighter-agent enroll HUB_URL CODE` writes one, --config names another"
        raise Mistake(file, "", f"does not exist; {fix}") from None
    except OSError as error:
        raise Mistake(file, "", f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(file, "", f"is not TOML: {error}") from None
    except RecursionError:
        raise Mistake(file, "", "is nested too deeply; see docs/settings.md for what it may hold") from None


def used_profiles(settings: Settings) -> dict[str, Profile]:
    """Return the profile of each device, by device id. Raises Mistake."""
    folders = [settings.folder / folder for folder in settings.profiles]
    for folder in folders:
        if not folder.is_dir():
            raise Mistake(settings.file, "profiles", f"{folder} is not a folder; correct or remove it")
    try:
        known = load_profiles(*folders)
    except BadProfile as error:
        raise Mistake(error.field, "", error.detail) from None
    found = {}
    for device in settings.devices:
        if device.profile not in known:
            detail = f"{device.profile!r} is unknown; known profiles: {', '.join(sorted(known)) or 'none'}"
            raise Mistake(settings.file, settings.key(device, "profile"), detail)
        found[device.id] = known[device.profile]
    return found


def mistake(file: Path, error: ValidationError, raw: dict[str, Any], *prefix: str) -> Mistake:
    """Return what pydantic refused, a line with its fix for each. `raw` is what was checked."""
    found = error.errors(include_url=False, include_input=False)[:MOST_MISTAKES]
    first, *more = [Mistake(file, ".".join([*prefix, *_names(one["loc"], raw)]), _fix(one)) for one in found]
    return Mistake(file, first.key, first.detail, more)


def _names(places: tuple[int | str, ...], raw: dict[str, Any]) -> Iterator[str]:
    here: Any = raw
    for place in places:
        here = _step(here, place)
        # A device is known to people by its id, not by its place.
        named = isinstance(place, int) and isinstance(here, dict) and isinstance(here.get("id"), str)
        yield here["id"] if named else str(place)


def _step(value: Any, part: int | str) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _fix(found: Mapping[str, Any]) -> str:
    if found["type"] == "missing":
        return "is missing; add it"
    if found["type"] == "extra_forbidden":
        return "is unknown; correct its spelling or remove it"
    text = worded(found)
    return text[:1].lower() + text[1:]
