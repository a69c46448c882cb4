"""Where a swarm's agents get their credentials: from the hub in bulk, or from a file of an earlier run."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.swarm.worker import Credential

BULK: Final = 1_000
"""How many agents the hub takes in one request."""


def provision(hub: str, token: str, ids: Sequence[str]) -> Iterator[list[Credential]]:
    """Register agents and yield their credentials, a thousand at a time. Raises UsageError that says what to do."""
    for start in range(0, len(ids), BULK):
        asked = ids[start : start + BULK]
        answer = _request(f"{hub.rstrip('/')}/api/v1/agents", token, {"agents": [{"id": agent} for agent in asked]})
        yield _credentials(answer)


def mqtt_url(hub: str, token: str) -> str:
    """Ask the hub where its broker listens; empty when it does not say."""
    answer = _request(f"{hub.rstrip('/')}/api/v1/status", token, None)
    return _find_mqtt_url(answer) or ""


def read(path: Path) -> tuple[str, list[Credential]]:
    """Read a credentials file: the broker's URL and the agents. Raises UsageError."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        found = [Credential(str(item["id"]), str(item.get("password", ""))) for item in said["agents"]]
        return str(said.get("mqtt_url", "")), found
    except OSError as error:
        raise UsageError(f"--credentials {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f'--credentials {path}: not {{"mqtt_url", "agents": [{{"id", "password"}}]}}') from None


def write(path: Path, url: str, credentials: Sequence[Credential]) -> None:
    """Keep the credentials in a file that only its owner can read."""
    text = json.dumps({"mqtt_url": url, "agents": [vars(one) for one in credentials]})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _credentials(answer: Any) -> list[Credential]:
    try:
        return [Credential(item["agent"], item["password"]) for item in answer["items"]]
    except (KeyError, TypeError):
        raise UsageError("the hub's answer to POST /api/v1/agents has no items with agent and password") from None


def _find_mqtt_url(value: Any) -> str | None:
    """Return the first text that is an MQTT address, wherever the status keeps it."""
    if isinstance(value, str):
        return value if value.startswith("mqtt://") else None
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for item in inner if (found := _find_mqtt_url(item))), None)


def _request(url: str, token: str, body: Any) -> Any:
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--hub {url}: write http://HOST:PORT")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the scheme is checked above
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise UsageError(f"{url}: {error.code} {_detail(error)}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{url}: {getattr(error, 'reason', error)}; is the hub running?") from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.load(error)
        return f"{problem.get('detail') or problem.get('title')} {problem.get('errors', '')}".strip()[:400]
    except (ValueError, AttributeError, OSError):
        return str(error.reason)
