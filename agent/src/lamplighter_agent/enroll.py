"""Enrolment: a code from the hub becomes this agent's identity, stored readable by its owner only."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from lamplighter_agent import keys, settings
from lamplighter_agent.errors import EnrolmentRefused, Mistake, StateUnreadable
from lamplighter_agent.state import Identity, Lock, State
from lamplighter_protocols.errors import BadTopic, one_line
from lamplighter_protocols.ids import agent_id

PATH: Final = "/api/v1/enrol"
TIMEOUT_S: Final = 20.0
MAX_ANSWER: Final = 64 * 1024


def enroll(hub_url: str, code: str, file: Path, *, agent: str = "", version: str = "", again: bool = False) -> Identity:
    """Ask the hub for an identity and store it; write a first agent.toml where there is none.

    Raises EnrolmentRefused, or Mistake when an identity is there already and `again` is not set.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(settings.EXAMPLE, encoding="utf-8")
    chosen = settings.load(file)
    state = State(chosen.data_folder)
    lock = Lock(chosen.data_folder)
    lock.take()
    try:
        before = state.identity().agent if state.exists() else ""
        if before and not again:
            raise Mistake(file, "data", f"is enrolled already as {before!r}; --again replaces that identity")
        identity = _ask(hub_url.rstrip("/"), code, agent, version)
        if before and before != identity.agent:
            _set_outbox_aside(chosen.data_folder, before)
        state.save_identity(identity)
    finally:
        lock.release()
    return identity


def _ask(hub_url: str, code: str, agent: str, version: str) -> Identity:
    if urlsplit(hub_url).scheme not in ("http", "https"):
        raise EnrolmentRefused(f"{hub_url}: is not an address like http://hub:8080")
    body = {"code": code, "agent_version": version, **({"agent": agent} if agent else {})}
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
        hub_url + PATH, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            answer = json.loads(response.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        raise EnrolmentRefused(f"{hub_url}: {_problem(error)}") from None
    except urllib.error.URLError as error:
        raise EnrolmentRefused(f"{hub_url}: cannot be reached: {error.reason}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise EnrolmentRefused(f"{hub_url}: is this a Lamplighter hub? {error}") from None
    return _identity(hub_url, answer)


def _identity(hub_url: str, answer: Any) -> Identity:
    try:
        identity = Identity.model_validate({**answer, "hub_url": hub_url})
        agent_id(identity.agent)
        keys.check((key.kid, key.public_key) for key in identity.hub_keys)
    except (ValidationError, TypeError, BadTopic, StateUnreadable) as error:
        text = str(error).splitlines()[0]
        raise EnrolmentRefused(f"{hub_url}: the answer is not an identity ({text})") from None
    return identity


def _problem(error: urllib.error.HTTPError) -> str:
    """Return what the hub says of a refusal (RFC 9457), in one line."""
    try:
        problem = json.loads(error.read(MAX_ANSWER))
        text = problem.get("detail") or problem.get("title")
    except (ValueError, RecursionError, AttributeError, OSError):
        text = ""
    if error.code == HTTPStatus.NOT_FOUND and not text:
        text = "there is no Lamplighter hub at this address"
    return one_line(str(text or f"answered {error.code} {error.reason}")[:500])


def _set_outbox_aside(folder: Path, agent: str) -> None:
    """Keep what another identity has not delivered, under another name: its numbers are not ours."""
    for ending in ("", "-wal", "-shm"):
        old = folder / f"outbox.sqlite{ending}"
        if old.exists():
            old.rename(folder / f"outbox-of-{agent}.sqlite{ending}")
