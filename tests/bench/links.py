"""What a reading costs on each kind of link: real agents with Modbus devices, a real hub and its broker.

`PYTHONPATH=tests .venv/bin/python -m bench.links --seconds 600`. Bytes are the agents' own account, whole lives long:
connecting, heartbeats and the end are in them. A proxy that counts says how true the account is.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.field import Background, CountingProxy, ModbusDevices
from bench.measures import PROFILE, redirect
from services.agent import Agent
from services.hub import Hub
from services.process import Children
from services.wait import eventually

HEAD = "| link | devices | readings | batches up and down in MQTT, B a reading | on the link, B a reading | MB a day |"
LOADS = ((10, 1), (1, 10), (1, 60))
"""Numbers of devices, and seconds between their readings."""


@dataclass
class Life:
    """One agent, what its devices were asked, and what a proxy before it saw."""

    kind: str
    devices: int
    interval_s: int
    field: ModbusDevices
    proxy: CountingProxy
    agent: Agent

    def account(self) -> int:
        """Bytes that the agent booked."""
        days = json.loads((self.agent.folder / "state" / "traffic.json").read_text())["_default"].values()
        return sum(day["up"] + day["down"] for day in days)

    def row(self, seconds: float) -> str:
        readings, carried = self.field.requests, self.account()
        mqtt = (self.proxy.up + self.proxy.down) / readings
        a_day = carried / seconds * 86_400 / 1e6
        load = f"{self.devices}, each {self.interval_s} s"
        return f"| {self.kind} | {load} | {readings} | {mqtt:.1f} | {carried / readings:.1f} | {a_day:.2f} |"


def begin(kind: str, devices: int, interval_s: int, hub: Hub, folder: Path, background: Background) -> Life:
    field, proxy = ModbusDevices(), CountingProxy(hub.mqtt_port)
    name = f"{kind}-{devices}-{interval_s}"
    agent = Agent(name, folder / name, hub.children)
    port = background.run(field.start())
    text = f'profiles = ["{folder / "profiles"}"]\n[link]\nkind = "{kind}"\n'
    for n in range(1, devices + 1):
        text += f'[[devices]]\nid = "{name}-{n}"\nprofile = "bench"\ndriver = "modbus"\ninterval_s = {interval_s}\n'
        text += f'[devices.settings]\nhost = "127.0.0.1"\nport = {port}\nunit = {n}\n'
    agent.configure(text).enroll(hub)
    redirect(agent.folder, hub.mqtt_port, background.run(proxy.start()))
    agent.start()
    return Life(kind, devices, interval_s, field, proxy, agent)


def points(hub: Hub) -> Any:
    return hub.get("status")["parts"]["series"]["points"]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--seconds", type=float, default=600)
    seconds = given.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="lamplighter-links-") as name, Background().running() as background:
        folder = Path(name)
        (folder / "profiles").mkdir()
        (folder / "profiles" / "bench.toml").write_text(PROFILE, encoding="utf-8")
        children = Children(folder)
        try:
            hub = Hub(folder / "data", children, ("--profiles", str(folder / "profiles"))).start()
            lives = [begin(kind, *load, hub, folder, background) for load in LOADS for kind in ("ethernet", "cellular")]
            time.sleep(seconds)
            for life in lives:
                life.agent.running.signal(signal.SIGTERM)
            eventually(lambda: not any(life.agent.running.running for life in lives), within_s=20)
            print(f"{HEAD}\n|{'---|' * 6}")
            print("\n".join(life.row(seconds) for life in lives))
        finally:
            children.end()


if __name__ == "__main__":
    main()
