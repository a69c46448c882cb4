"""The agent carries nothing of the hub: its tests pass in an environment that holds only the agent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from architecture.source import run, uv
from services.need import REPOSITORY

TOOLS = ("pytest", "pytest-timeout", "hypothesis")
NOT_THERE = (
    "lamplighter_hub",
    "lamplighter_firmware_sim",
    "duckdb",
    "fastapi",
    "sqlalchemy",
    "nats",
    "numpy",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the agent, its drivers' extras and the test tools."""
    home = tmp_path_factory.mktemp("alone") / "venv"
    run(uv(), "venv", "--quiet", "--python", sys.executable, home)
    run(
        uv(), "pip", "install", "--quiet", "--compile-bytecode", "--python", home,
        "--constraints", REPOSITORY / "requirements" / "dev.txt",
        "--build-constraints", REPOSITORY / "requirements" / "build.txt",
        REPOSITORY / "protocols", f"{REPOSITORY / 'agent'}[modbus]", *TOOLS,
    )  # fmt: skip
    return home / "bin" / "python"


def of_this_run_only() -> dict[str, str]:
    """Return the environment without what was said to the pytest around."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@pytest.mark.timeout(300)
def test_no_hub_dependency_is_importable(alone: Path) -> None:
    for name in NOT_THERE:
        run(alone, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)")


@pytest.mark.timeout(600)
def test_the_agents_tests_pass_without_the_hub(alone: Path, tmp_path: Path) -> None:
    said = run(
        alone, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "pytest",
        "-m", "not scale and not browser and not patient", "tests/agent", within_s=540, env=of_this_run_only(),
    )  # fmt: skip
    assert " passed" in said, said[-2000:]
