"""Who may import whom, and who owns a dependency."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from architecture.source import MEMBERS, imports, modules, run

OWNERS = {
    ("lamplighter_agent", "aiomqtt"): "lamplighter_agent.link",
    ("lamplighter_agent", "cryptography"): "lamplighter_agent.keys",
    ("lamplighter_agent", "tinydb"): "lamplighter_agent.state",
    ("lamplighter_agent", "pymodbus"): "lamplighter_agent.drivers.modbus",
    ("lamplighter_firmware_sim", "paho"): "lamplighter_firmware_sim.swarm",
    ("lamplighter_firmware_sim", "pymodbus"): "lamplighter_firmware_sim.faces.modbus_tcp",
    ("lamplighter_hub", "duckdb"): "lamplighter_hub.series.engine",
    ("lamplighter_hub", "msgspec"): "lamplighter_hub.ingest.plain",
    ("lamplighter_hub", "nacl"): "lamplighter_hub.keys",
    ("lamplighter_hub", "nats"): "lamplighter_hub.broker.callout",
    ("lamplighter_hub", "nkeys"): "lamplighter_hub.broker.callout",
    ("lamplighter_hub", "paho"): "lamplighter_hub.uplink.session",
    ("lamplighter_hub", "influxdb_client"): "lamplighter_hub.series.influx.client",
}
"""The one module of a package that may import a dependency; no other package imports it at all."""


def test_the_import_contracts_hold() -> None:
    run(Path(sys.executable).parent / "lint-imports", "--no-cache")


def test_agent_hub_and_simulator_meet_only_in_the_protocols() -> None:
    for module in modules():
        allowed = {module.package, "lamplighter_protocols"}
        foreign = {name.split(".")[0] for name in imports(module)} & set(MEMBERS) - allowed
        assert not foreign, f"{module.place} imports {foreign}"


def test_protocols_import_pydantic_and_the_standard_library_only() -> None:
    known = sys.stdlib_module_names | {"pydantic", "pydantic_core", "lamplighter_protocols"}
    for module in modules():
        if module.package == "lamplighter_protocols":
            foreign = {name.split(".")[0] for name in imports(module)} - known
            assert not foreign, f"{module.place} imports {foreign}"


def test_a_dependency_has_one_owner() -> None:
    owned = {dependency for _, dependency in OWNERS}
    importers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for module in modules():
        for name in imports(module):
            if (dependency := name.split(".")[0]) in owned:
                importers[module.package, dependency].add(module.name)
    for (package, dependency), found in importers.items():
        owner = OWNERS.get((package, dependency))
        assert found == {owner}, f"{dependency} in {package} belongs to {owner or 'nobody'}, not {sorted(found)}"
