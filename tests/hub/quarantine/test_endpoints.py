"""Quarantine over HTTP: what can be released is shown, operators release it, and every refusal names its field."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.ingest.test_pipeline import AGENT, DEVICE, Hub, batch, ingesting, pack, reading
from hub.registry.rig import START, calling
from lamplighter_hub.access.roles import Role

RELEASE = "/api/v1/quarantine/release"
EPOCH = 5_000


@contextmanager
def served(folder: Path, role: Role = Role.OPERATOR) -> Iterator[tuple[Hub, httpx.Client]]:
    """A hub with its ingest thread attending, and a client of its API."""
    with ingesting(folder) as hub, calling(hub.hub, hub.rig.token(role)) as client:
        stop = threading.Event()

        def attend() -> None:
            while not stop.wait(0.002):
                hub.pipeline.attend(stop)

        thread = threading.Thread(target=attend)
        thread.start()
        try:
            yield hub, client
        finally:
            stop.set()
            thread.join()


def test_an_operator_looks_then_releases_once(tmp_path: Path) -> None:
    with served(tmp_path) as (hub, client):
        hub.take(batch(1, reading(1, EPOCH), reading(2, START + 3_600_000)))
        listed = client.get("/api/v1/quarantine", params={"device": DEVICE}).json()["items"]
        assert [(one["releasable"], one["latest"], one["released"]) for one in listed] == [
            (True, START + 3_600_000, None),
            (True, EPOCH, None),
        ]
        asked = {"device": DEVICE, "shift_ms": START - EPOCH}
        seen = client.post(RELEASE, json={**asked, "dry_run": True}).json()
        assert (seen["released"], seen["staying"], seen["earliest"], hub.powers()) == (1, 1, START, [])
        assert seen["kept"][0]["id"] == listed[0]["id"]

        elsewhen = client.post(RELEASE, json={**asked, "from": START + 1})
        assert elsewhen.json()["type"] == "urn:lamplighter:problem:nothing_to_release"
        assert client.post(RELEASE, json={**asked, "to": START}).status_code == 409

        done = client.post(RELEASE, json=asked)
        assert done.json() == seen
        assert hub.powers() == [1]
        refused = client.post(RELEASE, json=asked)
        assert refused.status_code == 409
        assert "ten minutes ahead" in refused.json()["detail"]
        shown = client.get(f"/api/v1/quarantine/{listed[1]['id']}").json()
        assert (shown["releasable"], shown["released"]["shift_ms"]) == (False, START - EPOCH)
        assert shown["released"]["by"].startswith("token ")
        (row,) = hub.hub.ledger.row(AGENT)
        assert (row.stored, row.quarantined) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"shift_ms": 5}, "device"),
        ({"device": DEVICE}, "shift_ms"),
        ({"device": DEVICE, "shift_ms": 5, "as_received": True}, "shift_ms"),
        ({"device": DEVICE, "shift_ms": 2**62}, "shift_ms"),
        ({"device": "A b", "shift_ms": 5}, "device"),
        ({"device": DEVICE, "ids": ["01M80T5JNV0000000000000000"], "shift_ms": 5}, "ids"),
        ({"ids": ["nonsense"], "shift_ms": 5}, "ids.0"),
    ],
)
def test_what_is_not_clear_is_refused_by_name(tmp_path: Path, asked: dict[str, Any], field: str) -> None:
    with served(tmp_path) as (_, client):
        answer = client.post(RELEASE, json=asked)
        assert answer.status_code == 422
        assert field in [error["field"] for error in answer.json()["errors"]] or field in answer.json()["detail"]


def test_an_unknown_entry_is_said(tmp_path: Path) -> None:
    with served(tmp_path) as (_, client):
        named = {"ids": ["01M80T5JNV0000000000000000"], "shift_ms": 5}
        assert client.post(RELEASE, json=named).status_code == 404


def test_a_viewer_only_looks(tmp_path: Path) -> None:
    with served(tmp_path, Role.VIEWER) as (_, client):
        assert client.post(RELEASE, json={"device": DEVICE, "shift_ms": 5}).status_code == 403
        assert client.get("/api/v1/quarantine-clocks").json() == []


def test_nothing_is_released_while_nobody_attends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_hub.quarantine.service.PATIENCE_S", 0.05)
    with ingesting(tmp_path) as hub, calling(hub.hub, hub.rig.token(Role.OPERATOR)) as client:
        hub.take(batch(1, reading(1, EPOCH)))
        asked = {"agent": AGENT, "as_received": True}
        for _ in range(2):
            busy = client.post(RELEASE, json=asked)
            assert (busy.status_code, busy.json()["type"]) == (503, "urn:lamplighter:problem:ingest_busy")
        hub.pipeline.attend(threading.Event())
        assert hub.powers() == []


def test_clocks_tell_what_arrivals_can_tell(tmp_path: Path) -> None:
    with served(tmp_path, Role.VIEWER) as (hub, client):
        for number, delay in enumerate((300, 0, 900)):
            late = pack(float(number), at=2**40 + 30_000 * number, qos=0)
            hub.take(late._replace(arrived_ms=START + 30_000 * number + delay))
        (found,) = client.get("/api/v1/quarantine-clocks").json()
        assert (found["agent"], found["device"], found["entries"], found["basis"]) == (AGENT, DEVICE, 3, "constant")
        assert (found["shift_ms"], found["greatest_offset_ms"]) == (START - 2**40, START - 2**40 + 900)
