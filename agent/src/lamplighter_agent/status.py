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
from lamplighter_agent.traffic import Account, Budget, Traffic, day_of
from lamplighter_protocols.records import Stream


def collect(chosen: Settings, outbox: Path, now_ms: int) -> dict[str, Any]:
    """Return identity, link, outbox, configuration and journal as plain data. Secrets are left out."""
    state = State(chosen.data_folder)
    identity = state.identity() if state.exists() else None
    return {
        "agent": identity.agent if identity else None,
        "hub": identity.hub_url if identity else None,
        "broker": identity.mqtt.url if identity else None,
        "session": state.session() if state.exists() else 0,
        "link": _link(chosen, state, now_ms),
        "outbox": _outbox(outbox),
        "configuration": [item.model_dump(mode="json") for item in state.configurations().values()],
        "commands": [item.model_dump(mode="json") for item in state.journal().values()],
    }


def _link(chosen: Settings, state: State, now_ms: int) -> dict[str, Any]:
    """What the link carried today and before, in bytes, up to a minute ago."""
    days = {item.day: Traffic(item.up, item.down) for item in state.traffic()} if state.exists() else {}
    account, limit = Account(days), chosen.link.budget_bytes
    today = account.of(now_ms)
    return {
        "kind": chosen.link.kind,
        "day": day_of(now_ms),
        **today._asdict(),
        "budget_bytes": limit,
        "budget": Budget(limit).state(today.total, now_ms),
        "days": [{"day": day, **carried._asdict()} for day, carried in sorted(days.items())],
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
    yield f"link      {_link_line(found['link'])}"
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


def _link_line(link: dict[str, Any]) -> str:
    limit = link["budget_bytes"]
    budget = f", of {limit / 1e6:.1f} MB a day: {link['budget']}" if limit is not None else ""
    return (
        f"{link['kind']}, {link['day']} (UTC): {link['up'] / 1e6:.3f} MB up, {link['down'] / 1e6:.3f} MB down{budget}"
    )
