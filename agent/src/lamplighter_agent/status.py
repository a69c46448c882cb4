"""What an agent's data folder says, read without changing anything; the agent may run meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lamplighter_agent.errors import StateUnreadable
from lamplighter_agent.settings import Settings
from lamplighter_agent.state import State
from lamplighter_agent.tables import read_only
from lamplighter_protocols.records import Stream


def collect(chosen: Settings, outbox: Path) -> dict[str, Any]:
    """Return identity, outbox, configuration and journal as plain data. Secrets are left out."""
    state = State(chosen.data_folder)
    identity = state.identity() if state.exists() else None
    return {
        "agent": identity.agent if identity else None,
        "hub": identity.hub_url if identity else None,
        "broker": identity.mqtt.url if identity else None,
        "session": state.session() if state.exists() else 0,
        "outbox": _outbox(outbox),
        "configuration": [item.model_dump(mode="json") for item in state.configurations().values()],
        "commands": [item.model_dump(mode="json") for item in state.journal().values()],
    }


def _outbox(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return read_only(path)
    except sqlite3.Error as error:
        if "no such table" in str(error):  # the agent is making it at this moment
            return None
        raise StateUnreadable(f"{path}: {error}") from None


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Return the same for people."""
    yield f"agent     {found['agent'] or 'not enrolled: run `lamplighter-agent enroll HUB_URL CODE`'}"
    if found["agent"]:
        yield f"hub       {found['hub']}, broker {found['broker']}, last session {found['session']}"
    outbox = found["outbox"]
    if outbox is None:
        yield "outbox    none yet"
    else:
        yield f"outbox    {outbox['outbox']}, {outbox['bytes']} bytes of records"
        for stream in Stream:
            own = outbox["streams"][stream]
            span = f", numbers {own['first']} to {own['newest']}" if own["held"] else ""
            yield f"  {stream:<8}held {own['held']}{span}; last number given {own['last']}"
    yield f"configuration of {len(found['configuration'])} device(s)"
    for item in found["configuration"]:
        trial = ", on trial" if item["before"] else ""
        answer = f"{item['answered']['version']} {item['answered']['state']}"
        yield f"  {item['device']}: version {item['force']['version']} in force{trial}; last answered: {answer}"
    yield f"commands  {len(found['commands'])} in the journal"
    for item in found["commands"][-10:]:
        why = f" ({item['reason']})" if item["reason"] else ""
        yield f"  {item['id']} {item['device']} {item['name'] or '?'}: {item['state']}{why}"
