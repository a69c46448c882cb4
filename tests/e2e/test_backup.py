"""A hub is backed up while its agent delivers, goes on, is lost, and is restored: nothing of before is lost or doubled.

What was receipted after the backup is gone with the old hub, and the restored one says exactly that.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from services.counting import COUNTER, Writer, add_profile, counting_agent
from services.hub import BIN, Hub
from services.postgres import Postgres
from services.process import Children
from services.wait import eventually


@pytest.fixture(params=["sqlite", "postgresql"])
def registries(request: pytest.FixtureRequest) -> tuple[str, str]:
    """URLs of the registry before and after; "" means SQLite in the data folder."""
    if request.param == "sqlite":
        return "", ""
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.url(server.create()), server.url(server.create())


def a_hub(folder: Path, children: Children, registry: str) -> Hub:
    profiles = folder.parent / "profiles"
    add_profile(profiles)
    more = ("--registry-url", registry) if registry else ()
    return Hub(folder, children, ("--profiles", str(profiles), *more))


def numbers(hub: Hub) -> list[int]:
    text = hub.get("export.csv", metric="count")
    return [int(float(row["value"])) for row in csv.DictReader(io.StringIO(text))]


def stored(hub: Hub) -> int:
    points: int = hub.get("status")["parts"]["series"]["points"]
    return points


def newest(hub: Hub) -> float:
    number: float = hub.latest(COUNTER)["count"]
    return number


def gaps(found: list[int]) -> list[tuple[int, int]]:
    return [(left + 1, right - 1) for left, right in pairwise(found) if right != left + 1]


def live(hub: Hub) -> dict[str, list[tuple[int, int]]]:
    rows = {row["stream"]: row for row in hub.get(f"ledger/{COUNTER}")["items"]}
    return {stream: row["missing"] for stream, row in rows.items() if row["received"]}


@pytest.mark.services
@pytest.mark.timeout(180)
def test_a_restored_hub_goes_on_with_its_agents(
    registries: tuple[str, str], tmp_path: Path, children: Children
) -> None:
    before, after = registries
    hub = a_hub(tmp_path / "old", children, before).start()
    writer = Writer(tmp_path / "counter.csv")
    agent = counting_agent(hub, tmp_path / "counter-1", children, writer)
    writer.start()
    eventually(lambda: stored(hub) > 400, within_s=40)

    surely = numbers(hub)
    backup = tmp_path / "backup.tar"
    said = hub.cli("backup", str(backup))
    assert "readings" in said
    assert backup.stat().st_mode & 0o777 == 0o600
    assert list((hub.data / "backups").iterdir()) == []
    eventually(lambda: stored(hub) > len(surely) + 600, within_s=40)
    hub.running.kill()

    restored = a_hub(tmp_path / "new", children, after)
    restored.port, restored.mqtt_port = hub.port, hub.mqtt_port
    where = ("--registry-url", after) if after else ()
    assert "readings" in restored.cli("restore", str(backup), *where)
    assert "not empty" in refused("restore", str(backup), "--data", str(restored.data))
    restored.start()
    if after:  # one agent finds the restored hub by itself, the other is started again meanwhile
        agent.running.kill()
        agent.start()
    last = writer.lines
    eventually(lambda: newest(restored) > last, within_s=60)
    writer.finish()
    eventually(lambda: newest(restored) == writer.lines - 1, within_s=40)
    # Only what the old hub receipted after the backup may be missing.
    eventually(lambda: len(gaps(numbers(restored))) == 1, within_s=40)

    found = numbers(restored)
    assert found[: len(surely)] == surely
    assert found == sorted(set(found)), "something came twice"
    assert len(gaps(found)) == 1
    assert live(restored)["backlog"] or live(restored)["live"]
    assert "missing" in refused("ledger", "--data", str(restored.data))
    assert restored.device(COUNTER)["state"] == "online"
    agent.running.stop()


def refused(*arguments: str) -> str:
    """Run `lamplighter` on something that it must refuse; return what it says."""
    done = subprocess.run(
        [BIN / "lamplighter", *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr
