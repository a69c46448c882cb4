"""Static files under one hash: the address changes when any file does, so a browser may keep them for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from lamplighter_protocols.errors import LamplighterError

FOLDER: Final = Path(__file__).parent / "static"
PREFIX: Final = "/console/static"
NEEDED: Final = ("htmx.min.js", "uplot.iife.min.js", "uplot.min.css")


class AssetsMissing(LamplighterError):
    """The package was built without the files that its pages load."""


class Assets:
    """Knows the addresses of the console's files. Raises AssetsMissing when it was installed without them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        missing = [name for name in NEEDED if not (folder / "vendor" / name).is_file()]
        if missing:
            raise AssetsMissing(
                f"the console lacks {', '.join(missing)}: run `python hub/hatch_build.py`, or install a built wheel"
            )
        self.folder = folder
        self.version = _version(folder)

    def url(self, name: str) -> str:
        """Return the address of a file such as `css/base.css`."""
        return f"{PREFIX}/{self.version}/{name}"


def _version(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


class ImmutableFiles(StaticFiles):
    """Serves `VERSION/NAME`; only the present version is kept for ever."""

    def __init__(self, assets: Assets) -> None:
        super().__init__(directory=assets.folder)
        self._version = assets.version

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file, whatever version was asked for, so that an open page survives an update."""
        version, _, name = path.partition("/")
        response = await super().get_response(name, scope)
        if version == self._version and response.status_code in {200, 304}:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
