"""Events that an agent says of any device, whatever its profile. All others stand in the device's profile.

>>> severity("device_unreachable")
'warning'
"""

from __future__ import annotations

from typing import Final, Literal

from lamplighter_protocols.profile import Profile

Severity = Literal["info", "notice", "warning", "critical"]

AGENT_EVENTS: Final[dict[str, Severity]] = {
    "device_unreachable": "warning",
    "device_back": "notice",
    "line_refused": "notice",
    "downlink_refused": "warning",
}
"""`device_unreachable` {reason}, `device_back` {after_s}, `line_refused` {count, detail, line} of a text file,
`downlink_refused` {reason, count, channel} for what was not signed, not new, or not for this agent."""


def severity(name: str, profile: Profile | None = None) -> Severity:
    """Return how urgent an event is; `info` for a name that nobody knows."""
    if name in AGENT_EVENTS:
        return AGENT_EVENTS[name]
    spec = profile.events.get(name) if profile else None
    return spec.severity if spec else "info"


def known(name: str, profile: Profile) -> bool:
    """True for an event of the profile or of agents in general."""
    return name in AGENT_EVENTS or name in profile.events
