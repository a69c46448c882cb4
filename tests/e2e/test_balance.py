"""`sent = stored + dropped + still held`: anyone can check it, at rest, behind a cut link, and after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chaos.proxy import Line, Proxy
from lamplighter_agent.traffic import day_of
from services.agent import Agent
from services.hub import Hub
from services.numbers_log import NAME, Log, numbering_agent, read_up_to, stored, stream
from services.peer import now_ms
from services.process import Children
from services.wait import eventually

SMALL = "[outbox]\nmax_bytes = 65536\n[link]\ndata_budget_mb_per_day = 1000\n"
SPENT, FRESH = 2_000_000_000, 0


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "numbers.csv")


@pytest.fixture
def agent(fresh_hub: Hub, tmp_path: Path, children: Children, log: Log, line: Proxy) -> Agent:
    made = numbering_agent(fresh_hub, tmp_path / NAME, children, log, SMALL).enroll(fresh_hub)
    return made.reach(line.port).start()


def restart(agent: Agent, used: int) -> None:
    """Stop the agent and start it on a day on which its link has carried so many bytes of its budget."""
    agent.running.stop()
    days = {"_default": {"1": {"day": day_of(now_ms()), "up": used, "down": 0}}}
    (agent.folder / "state" / "traffic.json").write_text(json.dumps(days))
    agent.start()


def balance(hub: Hub) -> dict[str, Any]:
    row = stream(hub, "backlog")
    names = ("sent", "stored", "dropped", "held", "unaccounted", "adds_up")
    found = {name: row.get(name) for name in names}
    if row["adds_up"] is None:
        assert found.get("held") is None, "what nobody has said is not 0"
    elif row["sent"]:
        assert row["sent"] == row["stored"] + row["quarantined"] + row["dropped"] + row["held"] + row["unaccounted"]
    return found


def becomes(hub: Hub, *, sent: int, held: int = 0, dropped: int = 0) -> None:
    """Wait until the backlog's books are exactly so."""
    wanted = {
        "sent": sent,
        "stored": sent - held - dropped,
        "dropped": dropped,
        "held": held,
        "unaccounted": 0,
        "adds_up": True,
    }
    eventually(lambda: balance(hub) == wanted, within_s=60)


def adds_up(hub: Hub) -> None:
    """Every stream of the city does, and the command line says so."""
    assert all(row["adds_up"] for row in hub.get(f"ledger/{NAME}")["items"])
    totals = hub.get("ledger-totals")
    assert (totals["unaccounted"], totals["untold"], totals["violations"]) == (0, 0, 0)
    assert totals["sent"] == totals["stored"] + totals["quarantined"] + totals["dropped"] + totals["held"]
    assert "still held: it adds up" in hub.cli("ledger", NAME)


@pytest.mark.timeout(300)
def test_what_was_sent_adds_up_at_rest_and_behind_a_cut_link(
    fresh_hub: Hub, log: Log, line: Proxy, agent: Agent
) -> None:
    hub = fresh_hub
    log.write(50)
    becomes(hub, sent=50)
    adds_up(hub)

    line.become(Line.CUT)
    log.write(300)
    eventually(lambda: read_up_to(agent) == log.path.stat().st_size, within_s=30)
    restart(agent, SPENT)  # so that the backlog stays when the link is back, and can be looked at
    assert balance(hub)["held"] == 0, "nobody has told the hub"
    line.become(Line.WHOLE)
    becomes(hub, sent=350, held=300)  # the birth says it
    log.write(10)
    becomes(hub, sent=360, held=310)  # a sign of life does
    adds_up(hub)
    assert "310 still held" in hub.cli("ledger", NAME)
    log.write(5)
    eventually(lambda: read_up_to(agent) == log.path.stat().st_size, within_s=30)
    agent.running.stop()
    becomes(hub, sent=365, held=315)  # a farewell does

    hub.running.kill()
    hub.start()
    assert (balance(hub)["sent"], balance(hub)["adds_up"]) == (50, None), "nobody has told this hub yet"
    assert "not known yet what" in hub.cli("ledger", NAME)
    restart(agent, SPENT)
    becomes(hub, sent=365, held=315)

    restart(agent, FRESH)
    becomes(hub, sent=365)
    adds_up(hub)
    assert stored(hub) == list(range(1, 366))


@pytest.mark.timeout(300)
def test_what_a_small_outbox_gave_up_is_in_the_sum(fresh_hub: Hub, log: Log, line: Proxy, agent: Agent) -> None:
    hub = fresh_hub
    log.write(50)
    becomes(hub, sent=50)
    line.become(Line.CUT)
    for _ in range(3):
        log.write(1_000)
        eventually(lambda: read_up_to(agent) == log.path.stat().st_size, within_s=30)
    restart(agent, SPENT)  # what tells of losses goes all the same
    line.become(Line.WHOLE)
    eventually(lambda: balance(hub)["dropped"] and balance(hub)["adds_up"], within_s=60)
    behind = balance(hub)
    assert behind["dropped"] > 2_000
    assert behind["held"] > 100
    becomes(hub, sent=3_050, held=behind["held"], dropped=behind["dropped"])

    restart(agent, FRESH)
    becomes(hub, sent=3_050, dropped=behind["dropped"])
    adds_up(hub)


@pytest.mark.timeout(300)
def test_what_went_with_a_lost_outbox_is_known_and_declared(
    fresh_hub: Hub, log: Log, line: Proxy, agent: Agent
) -> None:
    hub = fresh_hub
    log.write(50)
    becomes(hub, sent=50)
    line.become(Line.CUT)
    log.write(20)
    eventually(lambda: read_up_to(agent) == log.path.stat().st_size, within_s=30)
    restart(agent, SPENT)
    line.become(Line.WHOLE)
    becomes(hub, sent=70, held=20)
    old = stream(hub, "backlog")["outbox"]

    agent.running.kill()
    log.path.write_text("")
    for part in agent.folder.glob("state/outbox.sqlite*"):
        part.unlink()
    agent.start()

    def lost() -> dict[str, Any]:
        rows: list[dict[str, Any]] = hub.get(f"ledger/{NAME}")["items"]
        return next(row for row in rows if (row["outbox"], row["stream"]) == (old, "backlog"))

    eventually(lambda: lost()["adds_up"] and lost()["dropped"] == 20, within_s=60)
    assert (lost()["lost"], lost()["held"], lost()["sent"]) == ([[51, 70]], 0, 70)
