"""Machines that have nothing of ours: a user without any file of his own, and a Debian made for the test.

Both get the network settings of the present machine (certificates, proxies, addresses of package indexes) from outside:
by environment variables and by copies of its configuration files, never by a file of the repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.need import REPOSITORY, missing, need
from services.process import Child, Children

USER, GROUP = 65_534, 65_534
"""nobody, nogroup: on every Debian, and they own nothing."""
PATH = "/usr/local/bin:/usr/bin:/bin"
NETWORK_PREFIXES = ("PIP_", "UV_", "NPM_CONFIG_")
NETWORK_NAMES = frozenset(
    {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
)
OF_A_USER = (".config/pip/pip.conf", ".pip/pip.conf", ".config/uv/uv.toml", ".npmrc")
OF_A_MACHINE = ("etc/pip.conf", "etc/npmrc", "etc/uv/uv.toml", "etc/resolv.conf", "etc/hosts")
MAKE_WITHIN_S = 300


@dataclass
class Machine:
    """Somewhere to clone and `make up`, as an unprivileged user whose home is `home` (a path inside `root`)."""

    root: Path
    home: str
    children: Children
    prefix: tuple[str | Path, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def inside(self, path: str) -> Path:
        """Where a file of the machine is for us."""
        return self.root / path.lstrip("/")

    def clone(self, name: str) -> str:
        """Clone the repository as it is committed; return the folder's path inside the machine."""
        target = self.inside(f"{self.home}/{name}")
        if not (REPOSITORY / ".git").exists():
            pytest.skip("not a git checkout")
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", REPOSITORY, target], check=True, timeout=120)
        own(target)
        return f"{self.home}/{name}"

    def start(self, folder: str, *argv: str) -> Child:
        """Start a command of the user in a folder, with nothing in its environment but the network's settings."""
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        clean = ["env", "-i", f"HOME={self.home}", f"PATH={PATH}", "LANG=C.UTF-8", *environment]
        return self.children.start([*self.prefix, *clean, "sh", "-c", 'cd "$0" && exec "$@"', folder, *argv])

    def run(self, folder: str, *argv: str, within_s: float = MAKE_WITHIN_S) -> tuple[int, str]:
        """Run a command to its end; return its exit code and all that it said."""
        child = self.start(folder, *argv)
        return child.process.wait(within_s), child.said()

    def alive(self) -> list[str]:
        """Return the command lines of all processes that know this machine's home."""
        return [line for line in map(self._mine, Path("/proc").glob("[0-9]*")) if line]

    def _mine(self, process: Path) -> str:
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
        return line if f"HOME={self.home}".encode() in environment or f"{self.home}/" in line else ""


def fresh_user(folder: Path, children: Children) -> Machine:
    """Return this machine as a user sees it who came just now (as root: somebody else than root)."""
    _need_python()
    home = folder / "home"
    home.mkdir()
    for name in OF_A_USER:
        copy(Path.home() / name, home / name)
    own(home)
    return Machine(Path("/"), str(home), children, (*_step_down(),), network_settings())


def debian(folder: Path, children: Children) -> Machine:
    """Make a Debian with git, make and Python and nothing else, and return it. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("making a Debian needs root")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("making a Debian needs the right to mount")
    root = folder / "debian"
    wanted = "--include=git,make,python3,python3-venv"
    made = subprocess.run(
        [need("debootstrap"), "--variant=minbase", wanted, "bookworm", root],
        capture_output=True, text=True, check=False, timeout=MAKE_WITHIN_S,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"debootstrap could not make a Debian: {made.stdout[-300:]}")
    home = f"/home/{folder.name}"
    (root / home[1:]).mkdir()
    for name in OF_A_MACHINE:
        copy(Path("/") / name, root / name)
    for name in OF_A_USER:
        copy(Path.home() / name, root / home[1:] / name)
    environment = network_settings()
    for value in environment.values():
        if value.startswith("/"):
            copy(Path(value), root / value[1:])
    own(root / home[1:])
    mounts = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$@"'
    enter = ("unshare", "--mount", "sh", "-c", mounts, root, f"--userspec={USER}:{GROUP}", "--groups=", root)
    return Machine(root, home, children, enter, environment)


def network_settings() -> dict[str, str]:
    """Return the variables by which this machine reaches its package indexes."""
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in NETWORK_NAMES or name.upper().startswith(NETWORK_PREFIXES)
    }
    return {name: value for name, value in chosen.items() if not Path(value).is_dir()}


def copy(source: Path, target: Path) -> None:
    """Copy a file, where there is one."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def own(folder: Path) -> None:
    """Give a tree to the unprivileged user."""
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{USER}:{GROUP}", folder], check=True, timeout=60)


def _step_down() -> Sequence[str]:
    return ("setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups") if os.geteuid() == 0 else ()


def _need_python() -> None:
    """Ask for what the README asks for."""
    asks = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    done = subprocess.run(["python3", "-c", asks], env={"PATH": PATH}, capture_output=True, check=False)
    if done.returncode:
        missing("needs Python 3.11 or later with venv in /usr/bin: apt install python3-venv")
