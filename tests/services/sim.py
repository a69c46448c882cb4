"""The simulator in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from services.process import Child, Children
from services.wait import eventually

PROGRAM = Path(sys.executable).parent / "lamplighter-sim"


def simulator(children: Children, *arguments: str | Path) -> Child:
    """Start `lamplighter-sim` with these arguments."""
    return children.start([PROGRAM, *arguments])


def street(children: Children, folder: Path, *arguments: str) -> dict[str, Any]:
    """Start a street and return what it says of itself, once everything listens."""
    child = simulator(children, "street", "--dir", folder, *arguments)
    written = folder / "street.json"
    eventually(lambda: written.exists() or not child.running, within_s=20)
    assert child.running, child.said()[-2000:]
    described: dict[str, Any] = json.loads(written.read_text())
    return described
