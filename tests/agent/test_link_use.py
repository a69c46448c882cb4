"""What the link is used for: waiting for company, a day's data budget, and the account of both. Real processes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lamplighter_agent.traffic import DAY_MS, HEAD_START, day_of
from lamplighter_protocols.topics import Channel
from services.bench import Bench, Log, ended, meter
from services.peer import Peer, now_ms
from services.wait import eventually

pytestmark = [pytest.mark.services, pytest.mark.patient]
BUDGET_MB = 1_000


def line() -> int:
    """How many bytes of the budget may have been used by now."""
    return round(BUDGET_MB * 1e4 * (HEAD_START + (100 - HEAD_START) * (now_ms() % DAY_MS) / DAY_MS))


def use(bench: Bench, used: int) -> None:
    """Let the link have carried so much today."""
    days = {"_default": {"1": {"day": day_of(now_ms()), "up": used, "down": 0}}}
    (bench.folder / "state" / "traffic.json").write_text(json.dumps(days))


def links(peer: Peer) -> list[dict[str, Any]]:
    """What was said of the link, by births before presences."""
    return [said["link"] for said in [*peer.births, *peer.presences] if said.get("link")]


def budgets(peer: Peer) -> list[str]:
    return [link["budget"] for link in links(peer)]


def test_a_profile_may_ask_for_more_haste_than_the_link(bench: Bench, peer: Peer) -> None:
    bench.text = bench.text.replace("linger_s = 0.2", "linger_s = 3600")
    profile = bench.folder / "profiles" / "meter.toml"
    profile.write_text(profile.read_text().replace("interval_s = 0.2\n", "interval_s = 0.2\nmax_wait_s = 0.5\n", 1))
    with meter(bench):
        bench.started()
        eventually(lambda: len(peer.points()) > 20, 15)
        eventually(lambda: len(peer.batches) > 5, 15)


def test_cellular_waits_and_promises_less_and_packs_small_batches(bench: Bench, peer: Peer) -> None:
    bench.text = bench.text.replace("linger_s = 0.2", 'kind = "cellular"\nlinger_s = 2')
    with meter(bench):
        bench.started()
        eventually(lambda: len(peer.points()) > 40 and links(peer), 30)
    assert peer.births[0]["heard_within_s"] == 300
    assert links(peer)[0]["kind"] == "cellular"
    assert len(peer.points()) / len(peer.batches) > 10
    assert max(peer.batch_sizes) < 300, "less than 1 KiB, and compressed"


def test_what_the_link_carries_is_told_soon_after_a_start_and_nothing_before_it_is_known(
    bench: Bench, peer: Peer
) -> None:
    with meter(bench):
        bench.started()
        told = eventually(lambda: links(peer), 30)
    assert peer.births[0].get("link") is None, "nothing was counted yet"
    assert told[0]["up"] > 0
    assert told[0]["down"] > 0


def test_what_the_link_carried_is_kept_over_a_restart_and_told(bench: Bench, peer: Peer) -> None:
    with meter(bench):
        child = bench.started()
        eventually(lambda: len(peer.batches) > 10)
        assert ended(child)
        first = bench.status()["link"]
        assert first["budget"] == "ok"
        assert sum(peer.batch_sizes) < first["up"] < 20 * sum(peer.batch_sizes)
        assert first["down"] > 0
        assert ended(bench.started())
    said = peer.births[-1]["link"]
    assert said == {key: first[key] for key in ("kind", "day", "up", "down", "budget_bytes", "budget")}
    again = bench.status()["link"]
    assert again["up"] > first["up"]
    assert again["days"] == [{"day": first["day"], "up": again["up"], "down": again["down"]}]


def test_near_the_budget_backlog_waits_and_live_goes(bench: Bench, peer: Peer) -> None:
    bench.text += f"data_budget_mb_per_day = {BUDGET_MB}\n"
    Log(bench).write(range(50))
    with meter(bench):
        use(bench, line() - 50_000_000)
        bench.started()
        eventually(lambda: len(peer.points()) > 20, 20)
        assert {batch["stream"] for batch in peer.batches} == {"live"}
        assert bench.held()["backlog"] == 50
        assert budgets(peer)[0] == "saving"
        assert bench.status()["link"]["budget"] == "saving"


def test_beyond_the_budget_alarms_go_the_rest_waits_and_comes_each_once(bench: Bench, peer: Peer) -> None:
    bench.text += f"data_budget_mb_per_day = {BUDGET_MB}\n"
    Log(bench).write(range(50))
    with meter(bench) as device:
        use(bench, line() + 100_000_000)
        child = bench.started()
        eventually(lambda: bench.held()["backlog"] == 50 and bench.held()["live"] >= 1)
        command = peer.command("agent-1", "d-1", "set", args={"v": 5})
        peer.send(Channel.COMMAND, command)
        eventually(lambda: "succeeded" in peer.results(command["id"]))
        device.kill()
        eventually(lambda: [e for e in peer.all("event") if e["name"] == "device_unreachable"])
        assert {batch["stream"] for batch in peer.batches} == {"alarm"}
        assert budgets(peer)[0] == "spent"
        before = bench.held()
        assert ended(child)
        bench.text = bench.text.replace(f"day = {BUDGET_MB}", "day = 100000")
        bench.started()
        eventually(lambda: bench.held() == dict.fromkeys(before, 0), 30)
    lines = [e["data"]["n"] for e in peer.all("event") if e["name"] == "hires"]
    assert lines == list(range(50))
    assert peer.points()
    assert peer.changed == []
    assert not peer.all("dropped")


def test_the_line_rises_and_what_waited_goes_by_itself(bench: Bench, peer: Peer) -> None:
    """An hour passes by the hub's time, which the answer to a birth brings."""
    bench.text += f"data_budget_mb_per_day = {BUDGET_MB}\n"
    with meter(bench):
        use(bench, line() + 5_000_000)
        child = bench.started()
        eventually(lambda: bench.held()["live"] >= 1)
        assert budgets(peer) == ["spent"]
        assert peer.batches == []
        peer.now_offset_ms = 3_600_000
        peer.send(Channel.FETCH, {"type": "fetch", "agent": "agent-1", "issued_at": now_ms()})
        eventually(lambda: len(peer.points()) > 10)
        eventually(lambda: "data budget" in child.said().split("data budget spent", 1)[1])


def test_a_budget_is_told_when_it_is_wrong(bench: Bench) -> None:
    bench.text += "data_budget_mb_per_day = 0\n"
    child = bench.start()
    assert child.process.wait(10) == 2
    assert "link.data_budget_mb_per_day: must be at least 0.1" in child.said()
