"""Devices and profiles over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.configuration.service import Versions
from lamplighter_hub.devices.service import Filter, Known
from lamplighter_hub.errors import NotFound
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_hub.services import Services
from lamplighter_protocols.ids import DeviceId
from lamplighter_protocols.profile import Profile, ProfileId

router = APIRouter(tags=["devices"])

DevicePath = Annotated[DeviceId, Path(description="A device's id.")]
StateName = Literal["online", "offline", "unknown"]


class ConfigurationSummary(BaseModel):
    """Which configuration a device shall have, and which it has (0: the profile's defaults)."""

    desired_version: int
    reported_version: int
    state: str = Field(description="applied, rejected, rolled_back, or pending while it has not answered.")


class Device(BaseModel):
    """A device, and how it is. `state` is its agent's while the agent carries it."""

    id: str = Field(examples=["air-1"])
    agent: str
    profile: str
    state: StateName
    reason: str = Field(examples=["born"])
    since: int | None
    last_heard: int | None
    first_seen: int
    carried: bool = Field(description="Whether its agent still names it.")
    configuration: ConfigurationSummary


class DevicePage(Page[Device]):
    """A page of devices. `counts` says how many pass the filter by state; on the first page only."""

    counts: dict[str, int] | None = None


@router.get("/devices")
def list_devices(
    hub: Hub,
    _: Viewer,
    state: StateName | None = None,
    profile: Annotated[str, Query(max_length=64)] = "",
    agent: Annotated[str, Query(max_length=64)] = "",
    q: Annotated[str, Query(max_length=64, description="A part of the id.")] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> DevicePage:
    """List devices by id."""
    after = read_cursor(cursor, str)
    chosen = Filter(profile, agent, q)
    found = hub.devices.page(chosen, state or "", after[0] if after else "", limit + 1)
    page = found[:limit]
    return DevicePage(
        items=_devices(hub, page),
        next=write_cursor(page[-1].id) if len(found) > limit else None,
        counts=None if after else hub.devices.counts_of(chosen),
    )


@router.get("/devices/{device}")
def read_device(hub: Hub, _: Viewer, device: DevicePath) -> Device:
    """Show one device."""
    return _devices(hub, [hub.devices.find(device)])[0]


@router.get("/profiles")
def list_profiles(hub: Hub, _: Viewer, limit: Limit = 100, cursor: Cursor = "") -> Page[Profile]:
    """List device models by id."""
    after = read_cursor(cursor, str)
    names = sorted(name for name in hub.profiles if not after or name > after[0])
    following = write_cursor(names[limit - 1]) if len(names) > limit else None
    return Page(items=[hub.profiles[name] for name in names[:limit]], next=following)


@router.get("/profiles/{profile}")
def read_profile(hub: Hub, _: Viewer, profile: Annotated[ProfileId, Path()]) -> Profile:
    """Show one device model: metrics, events, configuration, commands."""
    if profile not in hub.profiles:
        raise NotFound(f"profile {profile!r} is not known", code="profile_unknown")
    return hub.profiles[profile]


def _devices(hub: Services, devices: list[Known]) -> list[Device]:
    versions = hub.configuration.versions([known.id for known in devices])
    return [_device(hub, known, versions[known.id]) for known in devices]


def _device(hub: Services, known: Known, versions: Versions) -> Device:
    now = hub.devices.state(known)
    return Device.model_validate(
        {
            "id": known.id,
            "agent": known.agent,
            "profile": known.profile,
            "first_seen": known.first_seen,
            "carried": known.carried,
            **now._asdict(),
            "configuration": versions._asdict(),
        }
    )
