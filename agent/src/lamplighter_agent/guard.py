"""The safety envelope: what a command must pass, whatever the hub says.

Checks are data and pure functions of what is known on the device; each names what was wrong. They are written apart
from the hub's own checks on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from lamplighter_protocols.commands import Command, Hazard
from lamplighter_protocols.configuration import check_fields, merge
from lamplighter_protocols.ids import Name
from lamplighter_protocols.profile import CommandSpec, Profile

ISSUED_AHEAD_MS: Final = 10 * 60_000
"""How far in the future a command may have been issued: clocks differ, but not by more."""
EXPIRY_MARGIN_MS: Final = 1_000
_RANK: Final = {Hazard.NONE: 0, Hazard.CAUTION: 1, Hazard.DANGEROUS: 2}


class Rules(BaseModel):
    """Session rules of one device, given in agent.toml (`[devices.rules]`): they can only restrict.

    `refuse` names commands that are never run here; `max_hazard` the worst that is; `min_gap_s` how long to wait
    between two commands that can do harm (hazard caution or dangerous); `max_lease_s` the longest lease.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    refuse: list[Name] = []
    max_hazard: Hazard = Hazard.DANGEROUS
    min_gap_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    max_lease_s: Annotated[int, Field(ge=1, le=86_400)] = 86_400


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known on the device at the moment of the check. `last_harmful_ms` is when such a command last began."""

    profile: Profile
    rules: Rules
    configuration_version: int
    now_ms: int
    last_harmful_ms: int | None = None


def harmful(hazard: Hazard) -> bool:
    """True for a command that can do harm."""
    return hazard is not Hazard.NONE


def refuse(command: Command, situation: Situation) -> str:
    """Return why a command must not be run, as one line that names the field; empty when it may."""
    spec = situation.profile.commands.get(command.name)
    if spec is None:
        known = ", ".join(sorted(situation.profile.commands)) or "none"
        return f"name: profile {situation.profile.id} has no command {command.name!r}; it has: {known}"
    return _out_of_bounds(command, spec, situation) or _against_rules(command, spec, situation)


def arguments(command: Command, spec: CommandSpec) -> dict[str, Any]:
    """Return the arguments with the profile's defaults filled in."""
    return merge(spec.args, command.args)


def _out_of_bounds(command: Command, spec: CommandSpec, situation: Situation) -> str:
    wrong = check_fields(spec.args, command.args, "args.")
    if wrong:
        return f"{wrong[0].field}: {wrong[0].detail}"
    if _RANK[command.hazard] < _RANK[spec.hazard]:
        return f"hazard: was released as {command.hazard}, but the profile says {spec.hazard}"
    if command.expires_at - command.issued_at > spec.max_expiry_s * 1000 + EXPIRY_MARGIN_MS:
        return f"expires_at: may wait for at most {spec.max_expiry_s} s"
    if spec.max_lease_s is not None and not 1 <= (command.lease_s or 0) <= spec.max_lease_s:
        return f"lease_s: is needed, 1 to {spec.max_lease_s} s: this command's effect is lent"
    return _out_of_place(command, situation)


def _out_of_place(command: Command, situation: Situation) -> str:
    if command.issued_at > situation.now_ms + ISSUED_AHEAD_MS:
        return "issued_at: lies in the future"
    wanted = command.configuration_version
    if wanted is not None and wanted != situation.configuration_version:
        return f"configuration_version: is meant for {wanted}, in force is {situation.configuration_version}"
    return ""


def _against_rules(command: Command, spec: CommandSpec, situation: Situation) -> str:
    rules = situation.rules
    checks: Sequence[tuple[bool, str]] = (
        (command.name in rules.refuse, f"name: {command.name} is refused on this device (rules.refuse)"),
        (
            _RANK[spec.hazard] > _RANK[rules.max_hazard],
            f"hazard: {spec.hazard} is above what this device allows (rules.max_hazard)",
        ),
        (
            (command.lease_s or 0) > rules.max_lease_s,
            f"lease_s: is above {rules.max_lease_s} (rules.max_lease_s)",
        ),
        (
            harmful(spec.hazard) and _too_soon(situation),
            f"name: less than {rules.min_gap_s:g} s after the last such command (rules.min_gap_s)",
        ),
    )
    return next((reason for broken, reason in checks if broken), "")


def _too_soon(situation: Situation) -> bool:
    last = situation.last_harmful_ms
    return last is not None and situation.now_ms - last < situation.rules.min_gap_s * 1000
