"""Words for people: what a code of the hub is called, and which shape stands beside it.

A code that is not listed is shown as it is: agents may know reasons that this console does not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lamplighter_hub.console.i18n import N_


class Word(NamedTuple):
    """A message, the icon beside it, and the CSS class that colours it."""

    message: str
    icon: str
    css: str


STATES: Final = {
    "online": Word(N_("Online"), "online", "online"),
    "warning": Word(N_("Warning"), "warning", "warning"),
    "critical": Word(N_("Critical"), "critical", "critical"),
    "offline": Word(N_("Offline"), "offline", "offline"),
    "unknown": Word(N_("Unknown"), "unknown", "unknown"),
}
REASONS: Final = {
    "born": N_("Connected"),
    "heard": N_("Heard of again"),
    "said": N_("Heard of again"),
    "connection_lost": N_("Connection lost"),
    "stopped": N_("Stopped"),
    "silent": N_("Not heard of"),
    "heartbeat": N_("Heartbeat"),
    "never_seen": N_("Never connected"),
    "revoked": N_("Access revoked"),
    "not_carried": N_("No longer behind its agent"),
}
STREAMS: Final = {
    "alarm": N_("Alarms"),
    "live": N_("Live"),
    "backlog": N_("Backlog"),
}
REFUSALS: Final = {
    "unknown_agent": N_("Unknown agent"),
    "wrong_password": N_("Wrong secret"),
    "foreign_client_id": N_("Foreign client id"),
    "revoked": N_("Access revoked"),
    "not_enrolled": N_("Agent is not enrolled"),
    "foreign_device": N_("Device of another agent"),
    "wrong_token": N_("Wrong API token"),
    "wrong_sign_in_link": N_("Wrong sign-in link"),
    "wrong_enrolment_code": N_("Wrong enrolment code"),
}
QUARANTINE: Final = {
    "unknown_device": N_("Unknown device"),
    "foreign_device": N_("Device of another agent"),
    "unknown_profile": N_("Unknown profile"),
    "bad_record": N_("Record cannot be read"),
    "unknown_metric": N_("Metric that the profile does not have"),
    "bad_value": N_("Value of the wrong type"),
    "impossible_time": N_("Impossible time"),
    "bad_envelope": N_("Message cannot be read"),
    "bad_field": N_("Wrong field"),
    "bad_topic": N_("Unknown topic"),
    "internal_error": N_("The hub made a mistake"),
}
CLOCKS: Final = {
    "constant": N_("The clock is off by the same in all of them."),
    "time_zone": N_("The clock shows the time of another zone."),
    "few": N_("Too few to tell how far off the clock is."),
    "varies": N_("The clock stepped again and again, or they were held back."),
}
PROBLEMS: Final = {
    "internal_error": (N_("The hub made a mistake"), N_("Its log says more under this request id.")),
    "invalid": (N_("Some fields are not valid"), N_("Correct the marked fields and send again.")),
    "unauthenticated": (N_("Not signed in"), N_("Sign in to see this page.")),
    "not_signed_in": (N_("Not signed in"), N_("Sign in to see this page.")),
    "wrong_sign_in_link": (
        N_("This link does not open anything"),
        N_("It was used before or has expired. `lamplighter sign-in-link` makes a new one."),
    ),
    "forbidden": (N_("Not allowed"), N_("Your account may not do this.")),
    "role_too_low": (N_("Not allowed"), N_("Your role is not sufficient. Ask an administrator.")),
    "cross_site": (N_("Not allowed"), N_("The request did not come from the console.")),
    "wrong_csrf_token": (N_("Not allowed"), N_("This page is out of date. Reload it and try again.")),
    "not_found": (N_("Not found"), N_("Nothing is here.")),
    "device_unknown": (N_("Device not found"), N_("No device has this id. It appears once its agent has named it.")),
    "profile_unknown": (N_("Profile not found"), N_("The hub does not have the profile of this device.")),
    "command_unknown": (N_("Command not found"), N_("This profile or device has no such command.")),
    "conflict": (N_("Contradicts the present state"), N_("Somebody else was faster. Reload the page.")),
    "command_finished": (N_("The command has ended"), N_("It cannot be cancelled any more.")),
    "idempotency_conflict": (N_("Already sent"), N_("This form was sent before with other values. Send it again.")),
    "nothing_to_release": (N_("Nothing can be released"), N_("Look at the preview: it says what stays, and why.")),
    "release_under_way": (N_("Somebody else is releasing"), N_("Wait for its end and try again.")),
    "ingest_busy": (N_("The hub is busy"), N_("Nothing was released. Try again in a moment.")),
    "too_many_commands": (N_("Too many open commands"), N_("Wait for some of this device's commands, or cancel them.")),
    "too_many_attempts": (N_("Too many attempts"), N_("Wait a few minutes and try again.")),
    "series_unavailable": (N_("Not available now"), N_("The series store does not answer. Try again in a moment.")),
    "registry_unavailable": (N_("Not available now"), N_("The registry does not answer. Try again in a moment.")),
    "too_large": (N_("Too large"), N_("Send less at once.")),
    "too_many": (N_("Too many"), N_("Wait a moment and try again.")),
    "unavailable": (N_("Not available now"), N_("A part of the hub does not answer. Try again in a moment.")),
    "method_not_allowed": (N_("Not found"), N_("Nothing is here.")),
    "bad_request": (N_("Not readable"), N_("The hub could not read this request.")),
}
SEVERITIES: Final = {
    "info": Word(N_("Information"), "info", "info"),
    "notice": Word(N_("Notice"), "notice", "notice"),
    "warning": Word(N_("Warning"), "warning", "warning"),
    "critical": Word(N_("Critical"), "critical", "critical"),
}
COMMAND_STATES: Final = {
    "queued": Word(N_("Waiting for the device"), "waiting", "waiting"),
    "sent": Word(N_("Sent"), "waiting", "waiting"),
    "received": Word(N_("Received"), "waiting", "waiting"),
    "running": Word(N_("Running"), "waiting", "waiting"),
    "succeeded": Word(N_("Succeeded"), "online", "succeeded"),
    "failed": Word(N_("Failed"), "critical", "failed"),
    "rejected": Word(N_("Refused by the device"), "critical", "rejected"),
    "expired": Word(N_("Expired, not carried out"), "warning", "expired"),
    "cancelled": Word(N_("Cancelled, not carried out"), "offline", "offline"),
}
CONFIGURATION_STATES: Final = {
    "applied": Word(N_("Applied"), "online", "applied"),
    "rejected": Word(N_("Refused by the device"), "critical", "rejected"),
    "rolled_back": Word(N_("Rolled back"), "warning", "rolled_back"),
    "pending": Word(N_("Not reported yet"), "waiting", "waiting"),
    "defaults": Word(N_("Profile defaults"), "info", "info"),
}
BUDGETS: Final = {
    "ok": Word(N_("Within its data budget"), "online", "online"),
    "saving": Word(N_("Saves data: backlog waits"), "warning", "warning"),
    "spent": Word(N_("Data budget spent: only alarms go for now"), "critical", "critical"),
}
HAZARDS: Final = {
    "none": Word(N_("Harmless"), "info", "none"),
    "caution": Word(N_("Caution"), "warning", "caution"),
    "dangerous": Word(N_("Dangerous"), "critical", "dangerous"),
}
QUALITIES: Final = {
    "good": N_("Good"),
    "sensor_fault": N_("Sensor fault"),
    "no_data": N_("No data"),
    "warming_up": N_("Warming up"),
    "overflow": N_("Overflow"),
    "out_of_range": N_("Out of range"),
    "suspect": N_("Suspect"),
    "stale": N_("Stale"),
    "rate_of_change": N_("Changes too fast"),
    "stuck": N_("Stuck"),
    "spike": N_("Spike"),
    "gap": N_("After a gap"),
    "cross_field": N_("Contradicts another value"),
}
ROLES: Final = {
    "viewer": N_("Viewer"),
    "operator": N_("Operator"),
    "administrator": N_("Administrator"),
}
THEMES: Final = {
    "system": N_("System"),
    "light": N_("Light"),
    "dark": N_("Dark"),
}
UNITS: Final = {
    "Cel": "°C",
    "deg": "°",
    "ug/m3": "µg/m³",
    "mg/m3": "mg/m³",
    "1": "",
    "count": "",
    "m3/s": "m³/s",
    "%RH": "%",
}
"""How people write UCUM and SenML units; others are written as they are."""


def unit(code: str) -> str:
    """Return a unit as people write it."""
    return UNITS.get(code, code)
