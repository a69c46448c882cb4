"""`make fuzz API=1`: Schemathesis draws requests from a hub's own OpenAPI document; the hub and its street are ours."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from services.arguments import count
from services.hub import BIN, Hub
from services.process import Children
from services.wait import eventually

COMMAND: Final = "PYTHONPATH=tests .venv/bin/python -m fuzz.api"
PROGRAM: Final = BIN.parent / "api" / "bin" / "schemathesis"
CHECKS: Final = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
STREAM: Final = "/api/v1/stream"
"""It never ends."""
WORST: Final = ("Traceback", " ERROR ")


def asked(hub: Hub, program: Path, seed: int, examples: int, folder: Path) -> int:
    """Ask everything but what deletes, which would take away the token that asks; return Schemathesis' exit code."""
    argv: list[str | Path] = [program, "run", f"{hub.url}/api/v1/openapi.json", "--seed", str(seed)]
    argv += ["--header", f"Authorization: Bearer {hub.token}", "--exclude-path", STREAM, "--exclude-method", "DELETE"]
    argv += ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)]
    return subprocess.run(argv, check=False, cwd=folder).returncode


def wrong(hub: Hub) -> list[str]:
    """Return what the hub said that nobody's request may bring about."""
    if not hub.running.running:
        return [f"the hub ended: {hub.running.said()[-2000:]}"]
    return [line for line in hub.running.said().splitlines() if any(word in line for word in WORST)]


def main() -> int:
    """Return 1 when an answer was not as the document says, or the hub broke at one."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--examples", type=count, default=50, help="requests drawn for each operation (default 50)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; random when not given")
    parser.add_argument("--program", type=Path, default=PROGRAM, help="Schemathesis 4")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="lamplighter-api-") as name:
        children = Children(Path(name))
        try:
            hub = Hub(Path(name) / "data", children, ("--demo",)).start()
            eventually(lambda: hub.get("devices")["items"], within_s=60)
            code = asked(hub, given.program.resolve(), seed, given.examples, Path(name))
            broken = wrong(hub)
        finally:
            children.end()
    print("\n".join([*broken[:20], f"to repeat: {COMMAND} --examples {given.examples} --seed {seed}"]))
    return int(bool(code or broken))


if __name__ == "__main__":
    sys.exit(main())
