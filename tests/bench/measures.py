"""The measurements, in the order of the table."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.bare import bare
from bench.crowds import backlog, city, flat
from bench.field import Background, CountingProxy, ModbusDevices
from bench.frame import BIN, Figure, Measure, Setting, cpu_s, resident_mb
from bench.gathering import gathering
from bench.hours import hours
from bench.influx import influx
from bench.ingest import ingest
from bench.moving import moving
from bench.throughput import throughput
from services.agent import Agent
from services.hub import Hub
from services.wait import eventually

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
SMALL = ("--agents", "50", "--rate", "1", "--points", "10", "--seconds", "20")
GOAL_HUB_MB = 150
GOAL_AGENT_MB = 55
GOAL_AGENT_CPU = 0.6
GOAL_READING_B = 25


def hub_idle(at: Setting) -> Iterator[Figure]:
    """Measure a hub that nobody talks to: with an empty store, after some load, and started on what that left."""
    hub = Hub(at.folder / "data", at.children).start()
    begun = cpu_s(hub.running.pid)
    at.spend()
    used = (cpu_s(hub.running.pid) - begun) * 60 / at.seconds
    yield _resident(hub, "hub memory, idle, empty store")
    argv = [BIN / "lamplighter-sim", "swarm", *SMALL, "--hub", hub.url, "--token", hub.token]
    subprocess.run([str(part) for part in argv], capture_output=True, timeout=180, check=True)
    at.spend()
    yield _resident(hub, "hub memory, idle again after 50 agents sent 10,000 points")
    hub.running.stop()
    hub.start()
    at.spend()
    yield _resident(hub, "hub memory, idle, started with that store")
    yield Figure("hub processor, idle", used, "CPU-s/min")


def _resident(hub: Hub, what: str) -> Figure:
    pid = hub.running.pid
    note = f"without the broker; {resident_mb(pid, 'RssFile'):.0f} MB of it are pages of program files"
    return Figure(what, resident_mb(pid), "MB", GOAL_HUB_MB, note=note)


class _Sent(NamedTuple):
    """What has crossed the wire and is stored, counted just after a batch was stored."""

    up: int
    down: int
    readings: float


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
        redirect(agent.folder, hub.mqtt_port, background.run(proxy.start()))
        agent.start()
        eventually(lambda: _points(hub) > 0, within_s=60)
        before = _after_a_batch(hub, proxy)
        reads, used, began = field.requests, cpu_s(agent.running.pid), time.monotonic()
        at.spend()
        minutes = (time.monotonic() - began) / 60
        used = cpu_s(agent.running.pid) - used
        reads = field.requests - reads
        memory = resident_mb(agent.running.pid)
        after = _after_a_batch(hub, proxy)
    assert reads > at.seconds * DEVICES / 2, f"only {reads} reads: {agent.running.said()[-2000:]}"
    readings = after.readings - before.readings
    load = f"{DEVICES} Modbus devices of {REGISTERS} registers at 1 Hz"
    yield Figure("agent memory", memory, "MB", GOAL_AGENT_MB, note=load)
    yield Figure("agent processor", used / minutes, "CPU-s/min", GOAL_AGENT_CPU, note=f"{reads:,} reads")
    note = f"MQTT upwards without TCP/IP headers; {readings:,.0f} readings of {REGISTERS} registers, each a random walk"
    yield Figure("wire, up, per reading", (after.up - before.up) / readings, "B", GOAL_READING_B, note=note)
    yield Figure("wire, down, per reading", (after.down - before.down) / readings, "B", note="receipts")


def _after_a_batch(hub: Hub, proxy: CountingProxy) -> _Sent:
    """Wait for the next batch and count then, so that what still waits in the agent is the same each time."""
    before = _points(hub)
    eventually(lambda: _points(hub) > before, within_s=60)
    return _Sent(proxy.up, proxy.down, _points(hub) / REGISTERS)


def _points(hub: Hub) -> int:
    points: int = hub.get("status")["parts"]["series"]["points"]
    return points


def _agent_toml(profiles: Path, port: int) -> str:
    head = f'profiles = ["{profiles}"]\n'
    devices = (
        f'[[devices]]\nid = "device-{n}"\nprofile = "bench"\ndriver = "modbus"\ninterval_s = 1.0\n'
        f'[devices.settings]\nhost = "127.0.0.1"\nport = {port}\nunit = {n}\n'
        for n in range(1, DEVICES + 1)
    )
    return head + "".join(devices)


def redirect(folder: Path, broker: int, proxy: int) -> None:
    """Send the enrolled agent through the proxy."""
    changed = 0
    for path in (folder / "state").rglob("*.json"):
        text, here = re.subn(rf"127\.0\.0\.1:{broker}\b", f"127.0.0.1:{proxy}", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        changed += here
    assert changed, "the agent's identity names no broker"


MEASURES = (
    Measure("agent", "an agent with ten Modbus devices at 1 Hz", agent_modbus, 60),
    Measure("hub", "a hub that nobody talks to", hub_idle, 60),
    Measure("throughput", "from publish to receipt, 1, 10 and 60 points a message", throughput, 6, repeated=True),
    Measure("store", "the embedded store beside a bare DuckDB, in the same commits", bare, 3, repeated=True),
    Measure("ingest", "what each stage of ingest costs, with and without checks between values", ingest, 6),
    Measure("city", "15,000 agents at the pace of a city", city, 60),
    Measure("backlog", "an hour of backlog from 1,000 agents, beside live data", backlog, 300, long=True),
    Measure("moving", "a million readings out and in again, as CSV and as Parquet", moving, 0, long=True),
    Measure("flat", "memory while a city offers ten times its points", flat, 900, long=True),
    Measure("gathering", "16 days of hours gathered for a twentieth of a city; late points", gathering, 0, long=True),
    Measure("hours", "six hours of a city in the embedded store, in a quarter of an hour", hours, 21_600, long=True),
    Measure("influx", "the newest values of 100,000 series in InfluxDB, half a minute", influx, 0, long=True),
)
