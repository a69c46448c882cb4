"""Programs and recordings that a test needs from the machine: skipped without them here, failed without them in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = {
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "mosquitto_passwd": "mosquitto",
    "chromium": "chromium",
    "socat": "socat",
    "debootstrap": "debootstrap",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "pg_dump": "postgresql",
    "psql": "postgresql",
}
"""Which Debian package brings a program; `.ci/run` installs them all."""
SCRIPTS = {
    "influxd": "deploy/influxdb/build-influxd.sh",
    "telegraf": "tests/bench/telegraf/build-telegraf.sh",
}
"""Which script of ours builds a program that Debian does not have; `.ci/run` calls that of influxd."""
_ADMIN_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
_VERSIONED_FOLDERS = Path("/usr/lib/postgresql")
_BUILT = Path.home() / ".cache" / "lamplighter" / "bin"
"""Where these scripts put what they build."""


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where `CI` is set: there, nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def need(program: str) -> Path:
    """Return the path of a program, also one that is on nobody's PATH, or that we built."""
    found = find(program)
    if found is None:
        missing(lack(program))
    return found


def find(program: str) -> Path | None:
    """Return the path of a program as `need` does; None when it is not there."""
    found = shutil.which(program) or shutil.which(program, path=f"{_ADMIN_FOLDERS}:{_BUILT}") or _newest(program)
    return Path(found) if found else None


def lack(program: str) -> str:
    """Say what would bring a program."""
    return f"needs {program}: {SCRIPTS.get(program) or f'apt install {PACKAGES.get(program, program)}'}"


def _newest(program: str) -> str | None:
    """Return a program of the newest PostgreSQL: Debian puts each version into a folder of its own."""
    versions = sorted(_VERSIONED_FOLDERS.glob(f"*/bin/{program}"), key=lambda path: path.parts[-3].zfill(4))
    return str(versions[-1]) if versions else None


def recordings() -> Path:
    """Return the folder of real recordings: `LAMPLIGHTER_DATA`, else `../shared/data` beside the repository."""
    folder = Path(os.environ.get("LAMPLIGHTER_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        missing(f"needs the recordings: set LAMPLIGHTER_DATA to their folder ({folder.name} is not there)")
    return folder


def recording(name: str) -> Path:
    """Return one recording by its path below the folder, such as `water/trout_creek_Log00017.txt`."""
    path = recordings() / name
    if not path.is_file():
        missing(f"needs the recording {name}")
    return path
