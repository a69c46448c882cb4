"""The measurements, in the order of the table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.field import Background, CountingProxy, ModbusDevices
from bench.frame import Figure, Measure, Setting, cpu_s, resident_mb
from lamplighter_protocols import topics
from services.agent import Agent
from services.hub import Hub
from services.mosquitto import Mosquitto
from services.need import need
from services.ports import free_port
from services.wait import eventually

BIN = Path(sys.executable).parent
DEVICES = 10
REGISTERS = 4
PROFILE = (
    """id = "bench"
device_class = "bench"
title = { zh = "测量", en = "Bench" }
interval_s = 1.0
"""
    + "".join(f'[metrics.r{n}]\ntitle = {{ zh = "{n}", en = "{n}" }}\n' for n in range(REGISTERS))
    + "[modbus]\n"
    + "".join(f"[modbus.registers.r{n}]\naddress = {n}\n" for n in range(REGISTERS))
    + '[[examples]]\ntitle = "counting"\n'
    + "modbus = { holding = { "
    + ", ".join(f'"{n}" = {n}' for n in range(REGISTERS))
    + " } }\nreadings = { "
    + ", ".join(f"r{n} = {n}.0" for n in range(REGISTERS))
    + " }\n"
)


def hub_idle(at: Setting) -> Iterator[Figure]:
    """Measure a hub that nobody talks to."""
    hub = Hub(at.folder / "data", at.children).start()
    begun = cpu_s(hub.running.pid)
    at.spend()
    used = (cpu_s(hub.running.pid) - begun) * 60 / at.seconds
    yield Figure("hub resident memory, idle", resident_mb(hub.running.pid), "MB", 150, note="without the broker")
    yield Figure("hub processor time, idle", used, "CPU-s/min")


def agent_modbus(at: Setting) -> Iterator[Figure]:
    """Measure an agent with ten Modbus devices of four registers at 1 Hz, and what it sends."""
    profiles = at.folder / "profiles"
    profiles.mkdir()
    (profiles / "bench.toml").write_text(PROFILE, encoding="utf-8")
    hub = Hub(at.folder / "data", at.children, ("--profiles", str(profiles))).start()
    field, proxy = ModbusDevices(), CountingProxy(hub.mqtt_port)
    with Background().running() as background:
        agent = Agent("bench-1", at.folder / "agent", at.children)
        agent.configure(_agent_toml(profiles, background.run(field.start()))).enroll(hub)
        _redirect(agent.folder, hub.mqtt_port, background.run(proxy.start()))
        agent.start()
        eventually(lambda: _stored(hub) > 0, within_s=60)
        began, reads, bytes_up, bytes_down = time.monotonic(), field.requests, proxy.up, proxy.down
        used = cpu_s(agent.running.pid)
        at.spend()
        minutes = (time.monotonic() - began) / 60
        used = cpu_s(agent.running.pid) - used
        reads = field.requests - reads
        memory = resident_mb(agent.running.pid)
        sent, received = proxy.up - bytes_up, proxy.down - bytes_down
    assert reads > at.seconds * DEVICES / 2, f"only {reads} reads: {agent.running.said()[-2000:]}"
    yield Figure(
        "agent resident memory", memory, "MB", 55, note=f"{DEVICES} Modbus devices, {REGISTERS} registers, 1 Hz"
    )
    yield Figure("agent processor time", used / minutes, "CPU-s/min", 0.6)
    yield Figure("bytes on the wire per reading", sent / reads, "B", 25, note=f"up, {REGISTERS} registers a reading")
    yield Figure("bytes down per reading", received / reads, "B", note="receipts")


def _agent_toml(profiles: Path, port: int) -> str:
    head = f'profiles = ["{profiles}"]\n'
    devices = (
        f'[[devices]]\nid = "device-{n}"\nprofile = "bench"\ndriver = "modbus"\ninterval_s = 1.0\n'
        f'[devices.settings]\nhost = "127.0.0.1"\nport = {port}\nunit = {n}\n'
        for n in range(1, DEVICES + 1)
    )
    return head + "".join(devices)


def _redirect(folder: Path, broker: int, proxy: int) -> None:
    """Send the enrolled agent through the proxy."""
    changed = 0
    for path in (folder / "state").rglob("*.json"):
        text, here = re.subn(rf"127\.0\.0\.1:{broker}\b", f"127.0.0.1:{proxy}", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        changed += here
    assert changed, "the agent's identity names no broker"


def _stored(hub: Hub) -> int:
    return sum(row["stored"] for row in hub.get("ledger")["items"])


def throughput(at: Setting) -> Iterator[Figure]:
    """Measure messages and points from publish to receipt, beside mosquitto_sub on the same broker in the same run."""
    for points in (1, 10, 60):
        folder = at.folder / f"{points}"
        folder.mkdir()
        yield from _flow(at, folder, points)


def _flow(at: Setting, folder: Path, points: int) -> Iterator[Figure]:
    port = free_port()
    made = json.loads(_run("mosquitto-conf", folder / "mosquitto", "--port", port, "--json"))
    acl = folder / "mosquitto" / "acl"
    acl.write_text(acl.read_text() + f"user onlooker\ntopic read {topics.hub_filter()}\n")
    if os.geteuid() == 0:  # else Mosquitto becomes another user who may not write here
        (folder / "mosquitto" / "local.d" / "user.conf").write_text("user root\n")
    broker = Mosquitto(Path(made["configuration"]), port)
    broker.start()
    options = ("--mqtt-url", made["url"], "--mosquitto-dir", str(folder / "mosquitto"))
    hub = Hub(folder / "data", at.children, options).start()
    password = hub.post("agents", {"agents": [{"id": "onlooker"}]})["items"][0]["password"]
    onlooker = at.children.start([
        need("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-i", "onlooker", "-u", "onlooker", "-P", password,
        "-t", topics.hub_filter(), "-F", "%l",
    ])  # fmt: skip
    said = _swarm(at, hub, points)
    seen = len(onlooker.said().split())
    for child in (onlooker, hub.running):
        child.stop() if child is not onlooker else child.kill()
    broker.end()
    seconds = said["seconds"]
    note = f"p50 {said.get('p50_ms', 0):g} ms to the receipt; mosquitto_sub saw {seen / seconds:,.0f}/s"
    yield Figure(f"messages of {points} points, to the receipt", said["confirmed"] / seconds, "1/s", note=note)
    yield Figure(f"points, {points} a message, to the receipt", said["confirmed"] * points / seconds, "1/s")


def _swarm(at: Setting, hub: Hub, points: int) -> dict[str, float]:
    """Offer more than can be taken; return how many records were confirmed, in how many seconds."""
    argv = [
        BIN / "lamplighter-sim", "swarm", "--agents", "200", "--rate", "100", "--points", str(points),
        "--window", "64", "--hub", hub.url, "--token", hub.token, "--seconds", f"{at.seconds:g}",
    ]  # fmt: skip
    done = subprocess.run(
        [str(part) for part in argv], capture_output=True, text=True, timeout=at.seconds + 180, check=False
    )
    assert done.stdout, done.stderr[-2000:]
    said = json.loads(done.stdout)
    return {"confirmed": said["confirmed"], "seconds": at.seconds, **_latency(said)}


def _latency(said: dict[str, object]) -> dict[str, float]:
    found = said["latency_ms"]
    return {"p50_ms": float(found["p50"] or 0)} if isinstance(found, dict) else {}


def _run(*arguments: object) -> str:
    done = subprocess.run([str(BIN / "lamplighter"), *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


MEASURES = (
    Measure("hub", "a hub that nobody talks to", hub_idle),
    Measure("agent", "an agent with ten Modbus devices at 1 Hz", agent_modbus),
    Measure("throughput", "from publish to receipt, 1, 10 and 60 points a message", throughput),
)
