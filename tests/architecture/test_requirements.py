"""Requirements are complete, pinned with hashes, and say nothing of where they came from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from architecture.source import MEMBERS
from services.need import REPOSITORY

FOLDER = REPOSITORY / "requirements"
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;]+)")
FILES = ("uv", "build", "runtime", "dev", "bench", "api")


def pins(name: str) -> set[tuple[str, str]]:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return {(found["name"], found["version"]) for line in text.splitlines() if (found := PIN.match(line))}


def needs(manifest: Path) -> list[str]:
    """Return what a member needs to build and to run, without its siblings."""
    read = tomllib.loads(manifest.read_text(encoding="utf-8"))
    project = read["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    wanted = project.get("dependencies", []) + extras
    return [line for line in wanted if not line.startswith("lamplighter-")]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found[0].lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_a_pin_with_hashes(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("#"):
            assert "/" not in line, f"{name}.txt: {line}"
            continue
        assert PIN.match(line), f"{name}.txt: {line[:80]} is no pin"
        assert "--hash=sha256:" in line, f"{name}.txt: {line[:80]} has no hash"


def test_development_adds_to_what_runs_and_changes_nothing() -> None:
    assert pins("runtime") <= pins("dev")


def test_what_draws_charts_is_in_nobody_elses_way() -> None:
    ours = {name for name, _ in pins("dev")}
    shared = {pin for pin in pins("bench") if pin[0] in ours}
    assert shared <= pins("dev")
    assert "matplotlib" not in ours


@pytest.mark.parametrize("folder", MEMBERS.values())
def test_what_a_member_needs_is_pinned(folder: str) -> None:
    known = {name for name, _ in pins("runtime")}
    assert {name_of(line) for line in needs(REPOSITORY / folder / "pyproject.toml")} <= known


def test_what_builds_the_members_is_pinned() -> None:
    known = {name for name, _ in pins("build")}
    for folder in MEMBERS.values():
        manifest = tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text(encoding="utf-8"))
        assert {name_of(line) for line in manifest["build-system"]["requires"]} <= known
        for hook in (REPOSITORY / folder).glob("hatch_build.py"):
            asked = re.findall(r'"([a-z][a-z0-9-]+)>=\d', hook.read_text(encoding="utf-8"))
            assert set(asked) <= known, f"{hook.name} asks for {set(asked) - known}"
