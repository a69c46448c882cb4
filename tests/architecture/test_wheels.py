"""The wheels of the members install into empty environments and start."""

from __future__ import annotations

import re
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from architecture.source import MEMBERS, run, uv
from services.need import REPOSITORY

PROGRAMS = {
    "agent": ("lamplighter-agent[modbus]", "lamplighter-agent"),
    "hub": ("lamplighter-hub", "lamplighter"),
    "firmware-sim": ("lamplighter-firmware-sim[modbus]", "lamplighter-sim"),
}
"""What to install and the program that must then start."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build each member's wheel once."""
    folder = tmp_path_factory.mktemp("wheels")
    build = REPOSITORY / "requirements" / "build.txt"
    for member in MEMBERS.values():
        run(uv(), "build", "--quiet", "--wheel", "--build-constraints", build, "--out-dir", folder, REPOSITORY / member)
    found = {path.name.split("-")[0]: path for path in folder.glob("*.whl")}
    assert set(found) == set(MEMBERS)
    return found


@pytest.mark.parametrize("package", MEMBERS)
def test_siblings_are_needed_by_version_range(wheels: dict[str, Path], package: str) -> None:
    with zipfile.ZipFile(wheels[package]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        needs = Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist") or []
    for need in (need for need in needs if need.startswith("lamplighter-")):
        assert re.match(r"lamplighter-[a-z-]+(\[[a-z,]+\])?\s*\(?~=", need), f"{package} needs {need!r}"


def test_profiles_travel_in_the_wheel(wheels: dict[str, Path]) -> None:
    folder = REPOSITORY / "protocols" / "src" / "lamplighter_protocols" / "profiles"
    written = {path.relative_to(folder.parents[1]).as_posix() for path in folder.rglob("*.toml")}
    with zipfile.ZipFile(wheels["lamplighter_protocols"]) as wheel:
        assert written
        assert written <= set(wheel.namelist())


@pytest.mark.parametrize("package", MEMBERS)
def test_a_wheel_holds_its_package_and_its_types_and_nothing_else(wheels: dict[str, Path], package: str) -> None:
    with zipfile.ZipFile(wheels[package]) as wheel:
        names = wheel.namelist()
    assert f"{package}/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {package}


@pytest.mark.parametrize("member", PROGRAMS)
def test_a_wheel_starts_in_an_empty_environment(wheels: dict[str, Path], member: str, tmp_path: Path) -> None:
    requirement, program = PROGRAMS[member]
    home = tmp_path / "venv"
    run(uv(), "venv", "--quiet", "--python", sys.executable, home)
    run(
        uv(), "pip", "install", "--quiet", "--python", home,
        "--constraints", REPOSITORY / "requirements" / "runtime.txt",
        "--find-links", next(iter(wheels.values())).parent, requirement,
    )  # fmt: skip
    said = run(home / "bin" / program, "--help", cwd=tmp_path)
    assert "sage" in said
    unwanted = {*MEMBERS.values()} - {member, "protocols"}
    listed = run(uv(), "pip", "list", "--quiet", "--python", home)
    for other in unwanted:
        assert f"lamplighter-{other}" not in listed
