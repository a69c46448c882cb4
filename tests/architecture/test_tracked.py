"""What git keeps: nothing of this machine, nothing secret, nothing that says from where a file was fetched."""

from __future__ import annotations

import json
import re

from architecture.source import tracked
from services.need import REPOSITORY

HOST = r"(?:pypi\.org|pythonhosted|registry\.npmjs|npmmirror|deb\.debian|security\.debian|crates\.io|repo1?\.maven)"
FORBIDDEN = {
    "the host of a registry": re.compile(HOST),
    "a path of one machine": re.compile(r"(?<![\w.~])/(?:work|root|home|Users|opt/wheels)/[\w.]"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
}
BINARY = frozenset({".png", ".ico", ".woff2", ".gz", ".zip", ".mo"})


def test_no_lock_file_that_names_addresses() -> None:
    names = {path.rpartition("/")[2] for path in tracked()}
    assert not names & {"uv.lock", "poetry.lock", "Pipfile.lock", "pip.conf", "uv.toml", ".npmrc", ".env"}


def test_package_locks_have_hashes_and_no_addresses() -> None:
    for path in tracked():
        if path.endswith("package-lock.json"):
            for name, package in json.loads((REPOSITORY / path).read_text(encoding="utf-8"))["packages"].items():
                assert "resolved" not in package, f"{path}: {name} names its address"
                assert not name or package["integrity"].startswith("sha512-"), f"{path}: {name} has no hash"


def test_no_file_tells_of_a_machine_or_a_registry() -> None:
    for path in tracked():
        if path.endswith(tuple(BINARY)) or path == "tests/architecture/test_tracked.py":
            continue
        text = (REPOSITORY / path).read_text(encoding="utf-8", errors="replace")
        for what, pattern in FORBIDDEN.items():
            found = pattern.search(text)
            line = text.count("\n", 0, found.start()) + 1 if found else 0
            assert not found, f"{path}:{line} contains {what}"


def test_no_file_is_large() -> None:
    for path in tracked():
        assert (REPOSITORY / path).stat().st_size < 500_000, f"{path} is large: data is made or fetched, not kept"
