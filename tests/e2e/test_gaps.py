"""What cannot be there is said exactly: an outbox that was too small, and a hub that forgot what it had confirmed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from services.agent import Agent
from services.hub import Hub
from services.numbers_log import Log, numbering_agent, numbers, read_up_to, stored, stream
from services.process import Children
from services.wait import eventually


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "numbers.csv")


def logging_agent(hub: Hub, tmp_path: Path, children: Children, log: Log) -> Agent:
    """An agent with the smallest outbox, and a hub that soon asks for what is missing."""
    agent = numbering_agent(hub, tmp_path / "logger-1", children, log, "[outbox]\nmax_bytes = 65536\n")
    return agent.enroll(hub).start()


def backlog(hub: Hub) -> dict[str, Any]:
    return stream(hub, "backlog")


def settled(hub: Hub, lines: int) -> bool:
    """Nothing is missing any more, anywhere."""
    missing: int = hub.get("ledger-totals")["missing"]
    return bool(backlog(hub)["through"] == lines and missing == 0)


def exactly_accounted(hub: Hub, log: Log) -> dict[str, Any]:
    """Each line is stored, once, or declared dropped; returns the ledger's row."""
    row = backlog(hub)
    found = stored(hub)
    assert sorted([*found, *numbers(row["lost"])]) == list(range(1, log.lines + 1))
    assert (row["stored"], row["dropped"]) == (len(found), log.lines - len(found))
    assert row["received"] == row["stored"] + row["duplicate"] + row["quarantined"]
    assert hub.get("ledger-totals")["violations"] == 0
    assert "of a million samples lost" in hub.cli("ledger")
    return row


@pytest.mark.timeout(300)
def test_an_outbox_that_was_too_small_says_exactly_what_it_gave_up(
    fresh_hub: Hub, tmp_path: Path, children: Children, log: Log
) -> None:
    hub = fresh_hub
    agent = logging_agent(hub, tmp_path, children, log)
    log.write(50)
    eventually(lambda: settled(hub, log.lines), within_s=30)

    hub.running.kill()
    for _ in range(3):
        log.write(1_000)
        eventually(lambda: read_up_to(agent) == log.path.stat().st_size, within_s=30)
        agent.running.kill()
        agent.start()
    hub.start()

    eventually(lambda: settled(hub, log.lines), within_s=90)
    row = exactly_accounted(hub, log)
    assert row["dropped"] > 2_000
    assert row["lost"][0][0] == 51, "the oldest go first"


@pytest.mark.timeout(300)
def test_a_hub_restored_to_an_older_copy_learns_what_it_lost(
    fresh_hub: Hub, tmp_path: Path, children: Children, log: Log
) -> None:
    hub = fresh_hub
    logging_agent(hub, tmp_path, children, log)
    log.write(100)
    eventually(lambda: settled(hub, log.lines), within_s=30)
    hub.running.stop()
    shutil.copytree(hub.data, tmp_path / "copy")
    hub.start()
    log.write(150)
    eventually(lambda: settled(hub, log.lines), within_s=60)
    assert exactly_accounted(hub, log)["dropped"] == 0

    hub.running.kill()
    shutil.rmtree(hub.data)
    shutil.copytree(tmp_path / "copy", hub.data)
    hub.start()
    assert backlog(hub)["through"] == 100

    # Nothing new is sent: what is gone is found out from the agent's word of what it keeps.
    eventually(lambda: settled(hub, log.lines), within_s=90)
    assert exactly_accounted(hub, log)["lost"] == [[101, 250]]
    assert hub.get("ledger-totals")["fetches"] >= 1
    log.write(10)
    eventually(lambda: settled(hub, log.lines), within_s=60)
    assert exactly_accounted(hub, log)["dropped"] == 150
