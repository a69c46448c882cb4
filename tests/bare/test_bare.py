"""`git clone`, `make up`: a street in the browser within a minute, nothing left after Ctrl-C, all data still there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bare.machines import Machine, debian, fresh_user
from services.hub import Hub, plain
from services.process import Child, Children
from services.wait import eventually

LIVE_WITHIN_S = 60
ENDS_WITHIN_S = 15
DEVICES = {"air-1", "creek-1", "flood-1", "kiosk-1", "noise-1", "signal-1"}
NO_VENV = "apt install python3-venv"

pytestmark = [pytest.mark.bare, pytest.mark.timeout(600)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others may enter, which pytest's own are not."""
    made = Path(tempfile.mkdtemp(prefix="lamplighter-bare-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_a_fresh_user(folder: Path, children: Children) -> None:
    user = fresh_user(folder, children)
    warm_the_package_cache(user)
    from_nothing_to_a_street_and_back(user)


def test_a_fresh_debian(folder: Path, children: Children) -> None:
    machine = debian(folder, children)
    without_venv_one_line_says_so(machine)
    warm_the_package_cache(machine)
    from_nothing_to_a_street_and_back(machine)


def without_venv_one_line_says_so(machine: Machine) -> None:
    """Debian ships Python without venv; its packages are at hand, so that no network is needed to bring it back."""
    tree = machine.clone("too-early")
    apt = ("chroot", str(machine.root), "dpkg")
    system = machine.children
    removed = system.start([*apt, "--purge", "python3-venv", "python3.11-venv"])
    assert removed.process.wait(60) == 0, removed.said()
    code, said = machine.run(tree, "make", "up")
    assert code == 2
    ours = [line for line in said.splitlines() if not line.startswith("make: ***")]
    assert len(ours) == 1
    assert NO_VENV in ours[0]
    kept = (machine.root / "var/cache/apt/archives").glob("python3*-venv_*.deb")
    names = [f"/var/cache/apt/archives/{path.name}" for path in kept]
    installed = system.start([*apt, "--install", *names])
    assert installed.process.wait(60) == 0, installed.said()


def warm_the_package_cache(machine: Machine) -> None:
    code, said = machine.run(machine.clone("before"), "make", ".venv/.runtime")
    assert code == 0, said[-3000:]


def from_nothing_to_a_street_and_back(machine: Machine) -> None:
    street = Street(machine, machine.clone("lamplighter"))
    assert street.live_after_s() < LIVE_WITHIN_S
    street.every_device_is_online()
    assert re.search("air-1 .*online", street.cli("devices"))
    eventually(lambda: len(street.told()) > 5, within_s=30)
    before = street.told()
    street.ctrl_c()

    assert street.live_after_s() < LIVE_WITHIN_S
    street.every_device_is_online()
    eventually(lambda: len(street.told()) > len(before), within_s=30)
    assert street.told()[: len(before)] == before
    assert "0 missing" in street.cli("ledger")
    street.ctrl_c()


class Street:
    """`make up` in a clone, and what a person sees of it."""

    def __init__(self, machine: Machine, folder: str) -> None:
        self.machine = machine
        self.folder = folder
        self.hub = Hub(machine.inside(folder) / "data", machine.children)
        self.make: Child | None = None

    def live_after_s(self) -> float:
        """Type `make up`; return the seconds until the page is there."""
        options = f"OPTIONS=--port {self.hub.port} --mqtt-port {self.hub.mqtt_port}"
        begun = time.monotonic()
        make = self.make = self.machine.start(self.folder, "make", "up", options)
        eventually(lambda: self._page() or not make.running, within_s=180)
        seconds = time.monotonic() - begun
        assert make.running, make.said()[-3000:]
        eventually(lambda: f"{self.hub.url}/sign-in?code=" in make.said(), within_s=10)
        print(f"{self.folder}: the page is live after {seconds:.1f} s")
        return seconds

    def _page(self) -> bool:
        try:
            answer = httpx.get(f"{self.hub.url}/", timeout=2, follow_redirects=True, verify=plain())
        except httpx.TransportError:
            return False
        return answer.is_success and "Lamplighter" in answer.text

    def every_device_is_online(self) -> None:
        eventually(lambda: self._online() >= DEVICES, within_s=40)

    def _online(self) -> set[str]:
        return {item["id"] for item in self.hub.get("devices")["items"] if item["state"] == "online"}

    def told(self) -> list[str]:
        """Return what is stored of one device, oldest first."""
        lines: list[str] = self.hub.get("export.csv", device="air-1", metric="temp").splitlines()[1:]
        return lines

    def cli(self, *arguments: str) -> str:
        """Run `lamplighter` as the README says, in the same folder."""
        code, said = self.machine.run(self.folder, ".venv/bin/lamplighter", *arguments)
        assert code == 0, said
        return said

    def ctrl_c(self) -> None:
        """Do what a terminal does: interrupt everything in the foreground. Then nothing is left."""
        assert self.make is not None
        os.killpg(self.make.pid, signal.SIGINT)
        self.make.process.wait(ENDS_WITHIN_S)
        assert "Traceback" not in self.make.said()
        assert self.machine.alive() == []
