"""The source tree as the architecture tests look at it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from services.need import REPOSITORY, missing

MEMBERS = {
    "lamplighter_protocols": "protocols",
    "lamplighter_agent": "agent",
    "lamplighter_hub": "hub",
    "lamplighter_firmware_sim": "firmware-sim",
}
"""Import name and folder of each member."""


class Module(NamedTuple):
    """One Python file."""

    package: str
    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """Path below the repository."""
        return self.path.relative_to(REPOSITORY).as_posix()


@cache
def modules() -> tuple[Module, ...]:
    """Return every module that ships."""
    found = []
    for package, folder in MEMBERS.items():
        root = REPOSITORY / folder / "src" / package
        for path in sorted(root.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            name = ".".join((package, *path.relative_to(root).with_suffix("").parts))
            found.append(Module(package, name.removesuffix(".__init__"), path, text, ast.parse(text)))
    return tuple(found)


def imports(module: Module) -> Iterator[str]:
    """Return the full names of all that a module imports, wherever in it."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tracked() -> list[str]:
    """Return the paths that git keeps."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for path in listed.stdout.decode().split("\0") if path and (REPOSITORY / path).is_file()]


def uv() -> Path:
    """Return the installer: the machine's, or the one that make put beside this Python."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        missing("needs uv: make .venv/.dev brings it when the machine has none")
    return Path(found)


def run(*argv: str | Path, cwd: Path = REPOSITORY, within_s: float = 300, env: dict[str, str] | None = None) -> str:
    """Run a program that must succeed; return what it said."""
    done = subprocess.run(
        [str(part) for part in argv], cwd=cwd, capture_output=True, text=True, timeout=within_s, check=False, env=env
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(str(part) for part in argv)} ended with {done.returncode}:\n{said[-6000:]}"
    return said
