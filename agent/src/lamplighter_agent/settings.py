"""agent.toml: read, checked, and every mistake said in one line that names file, key and fix."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lamplighter_agent.errors import Mistake
from lamplighter_agent.guard import Rules
from lamplighter_protocols.errors import BadProfile
from lamplighter_protocols.ids import DeviceId
from lamplighter_protocols.presence import MAX_DEVICES
from lamplighter_protocols.profile import Profile, load_profiles

EXAMPLE: Final = """\
# lamplighter-agent: what stands here is read at start; `lamplighter-agent check` says whether it is right.
data = "state"                 # identity, configuration and outbox; relative to this file
# heard_within_s = 30          # what the agent promises: something is heard at least this often
# profiles = ["profiles"]      # folders with your own profiles

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


class LinkSettings(_Section):
    """`[link]`: how long readings may wait for company before they are sent (alarms never wait).

    `backlog_share` is the part of the link's time that backlog may take; at 1 it is sent as fast as it goes.
    """

    linger_s: Annotated[float, Field(ge=0, le=300)] = 5.0
    backlog_share: Annotated[float, Field(ge=0.01, le=1)] = 0.5


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
    """Return what pydantic refused first, as one line with its fix. `raw` is what was checked."""
    first = error.errors(include_url=False)[0]
    parts: list[str] = list(prefix)
    here: Any = raw
    for part in first["loc"]:
        here = _step(here, part)
        # A device is known to people by its id, not by its place.
        named = isinstance(part, int) and isinstance(here, dict) and isinstance(here.get("id"), str)
        parts.append(here["id"] if named else str(part))
    return Mistake(file, ".".join(parts), _fix(first["type"], first["msg"]))


def _step(value: Any, part: int | str) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _fix(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        return "is unknown; correct its spelling or remove it"
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
