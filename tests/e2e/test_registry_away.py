"""The registry's server is killed under a working hub: nothing is lost, and all goes on by itself."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from services.counting import COUNTER, Writer, add_profile, assert_exact, counting_agent
from services.hub import Hub
from services.postgres import postgres
from services.process import Children
from services.wait import eventually


@pytest.mark.services
@pytest.mark.timeout(180)
def test_a_registry_that_is_away_for_a_while_costs_nothing(tmp_path: Path, children: Children) -> None:
    add_profile(tmp_path / "profiles")
    with postgres() as server:
        url = server.url(server.create())
        hub = Hub(
            tmp_path / "data", children, ("--profiles", str(tmp_path / "profiles"), "--registry-url", url)
        ).start()
        writer = Writer(tmp_path / "counter.csv")
        counting_agent(hub, tmp_path / COUNTER, children, writer)
        writer.start()
        eventually(lambda: hub.get("status")["parts"]["series"]["points"] > 200, within_s=40)

        server.kill()
        eventually(lambda: httpx.get(f"{hub.url}/healthz", timeout=15).status_code == 503, within_s=20)
        eventually(lambda: "the registry does not answer now" in hub.running.said(), within_s=30)
        server.start()

        eventually(lambda: httpx.get(f"{hub.url}/healthz", timeout=15).status_code == 200, within_s=20)
        writer.finish()
        eventually(lambda: hub.get("status")["parts"]["series"]["points"] >= writer.lines, within_s=60)
        assert_exact(hub, writer)
        said = hub.running.said()
        assert server.password not in said
        assert said.count("Traceback") <= 2, said[-4000:]
        assert hub.running.stop() == 0
