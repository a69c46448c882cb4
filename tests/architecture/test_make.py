"""What make says on a machine that lacks something, and that its goals are explained."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from services.need import PACKAGES, REPOSITORY, SCRIPTS

PRETENDERS = {
    "too old": ('case "$*" in *version_info*) exit 1;; esac', "3.11"),
    "without venv": ('case "$*" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
}
"""What a Python answers, and what make must then say."""


@pytest.mark.parametrize("lack", PRETENDERS)
def test_what_is_missing_is_one_line(tmp_path: Path, lack: str) -> None:
    answer, named = PRETENDERS[lack]
    tree = tmp_path / "tree"
    shutil.copytree(REPOSITORY / "requirements", tree / "requirements")
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(f"#!/bin/sh\n{answer}\nexit 0\n")
    python.chmod(0o755)
    for tool in ("sh", "dirname", "env"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        [tree / "requirements" / "install", "runtime"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_goal_says_what_it_is_for() -> None:
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split())
    explained = set(re.findall(r"^([a-z]+):.*## \w", text, re.MULTILINE))
    assert phony == explained
    assert {"up", "test", "check", "bench", "clean"} <= explained


def test_ci_runs_the_same_commands_as_people() -> None:
    text = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "\nmake check\n" in text
    assert "\nmake test\n" in text
    assert "make test" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_ci_installs_what_tests_need() -> None:
    installed = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    for path in (REPOSITORY / "tests").rglob("*.py"):
        for program in re.findall(r"\bneed\(\"([\w-]+)\"\)", path.read_text(encoding="utf-8")):
            if program in SCRIPTS:
                assert SCRIPTS[program] in installed, f".ci/run does not call {SCRIPTS[program]}"
                continue
            assert program in PACKAGES, f"{path.name} needs {program}: name its package in services/need.py"
            assert re.search(rf"packages=\(.*\b{PACKAGES[program]}\b", installed), f".ci/run does not install {program}"
