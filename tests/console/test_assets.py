"""What the build brings: complete, of the locked versions, inside the wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from lamplighter_hub.console.assets import FOLDER, Assets, AssetsMissing
from services.need import REPOSITORY

HUB = REPOSITORY / "hub"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", HUB / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package folder as a developer has it, built files included."""
    target = tmp_path / "hub"
    shutil.copytree(HUB, target, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    return target


def test_the_manifest_tells_what_is_there() -> None:
    manifest = json.loads((FOLDER / "vendor" / "manifest.json").read_text())
    lock = json.loads((HUB / "package-lock.json").read_text())["packages"]
    assert manifest["packages"] == {name: lock[f"node_modules/{name}"]["version"] for name in manifest["packages"]}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest
    notices = (FOLDER / "vendor" / "THIRD-PARTY-NOTICES.txt").read_text()
    assert "Zero-Clause BSD" in notices
    assert "The MIT License" in notices


def test_the_lock_file_has_hashes_and_no_addresses() -> None:
    text = (HUB / "package-lock.json").read_text()
    assert "resolved" not in text
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("sha512-" in package["integrity"] for name, package in packages.items() if name)


def test_a_wheel_holds_everything_that_pages_need(copy: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "out"], cwd=copy, check=True
    )
    (wheel,) = (tmp_path / "out").glob("*-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    root = "lamplighter_hub/console/"
    for part in ("static", "templates", "locale"):
        files = [path for path in (FOLDER.parent / part).rglob("*") if path.is_file()]
        assert {root + path.relative_to(FOLDER.parent).as_posix() for path in files} <= names
    assert {f"{root}locale/{folder}/LC_MESSAGES/console.mo" for folder in ("zh_CN", "en")} <= names


def test_another_version_in_the_lock_file_asks_for_new_files(build: ModuleType, copy: Path) -> None:
    assert build.missing_vendor(copy) == []
    lock = copy / "package-lock.json"
    lock.write_text(lock.read_text().replace('"version": "1.6.32"', '"version": "1.6.33"'))
    assert build.missing_vendor(copy) == ["manifest.json"]
    (copy / build.VENDOR / "htmx.min.js").unlink()
    assert build.missing_vendor(copy) == ["htmx.min.js"]


def test_a_package_without_the_named_file_ends_the_build(build: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match=r"uplot has no file dist/uPlot\.iife\.min\.js"):
        build._copy(tmp_path / "uplot", build.FILES["uplot"], tmp_path)


def test_a_message_without_translation_ends_the_build(build: ModuleType, copy: Path) -> None:
    source = copy / build.LOCALE / "zh_CN" / "LC_MESSAGES" / "console.po"
    source.write_text(source.read_text() + '\nmsgid "Brand new"\nmsgstr ""\n')
    with pytest.raises(build.BuildError, match="'Brand new' has no translation"):
        build.compile_catalogue(source)


def test_a_console_without_its_files_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AssetsMissing, match=r"hatch_build\.py"):
        Assets(tmp_path)


def test_the_address_changes_with_any_file(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "static")
    before = Assets(tmp_path / "static").url("js/main.js")
    (tmp_path / "static" / "css" / "base.css").write_text("changed")
    assert Assets(tmp_path / "static").url("js/main.js") != before
