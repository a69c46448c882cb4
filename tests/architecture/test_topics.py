"""Topics are written in one module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from architecture.source import MEMBERS, Module, modules
from lamplighter_protocols.topics import ROOT
from services.need import REPOSITORY

OWNER = "lamplighter_protocols.topics"
PART = re.compile(rf"{re.escape(ROOT)}|{re.escape(ROOT.replace('/', '.'))}\.|/(?:up|down)/|\b(?:up|down)/#")


def _docstrings(tree: ast.Module) -> set[int]:
    """Return the ids of nodes that only explain."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _literals(module: Module) -> Iterator[ast.Constant]:
    explained = _docstrings(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node


def test_no_other_module_contains_a_topic() -> None:
    for module in modules():
        if module.name != OWNER:
            for node in _literals(module):
                found = PART.search(str(node.value))
                assert not found, f"{module.place}:{node.lineno} contains {found!r}: build it with {OWNER}"


def test_no_data_file_contains_a_topic() -> None:
    for package, folder in MEMBERS.items():
        for path in (REPOSITORY / folder / "src" / package).rglob("*"):
            if path.suffix in {".toml", ".html", ".js", ".conf", ".po", ".json"} and "vendor" not in path.parts:
                assert ROOT not in path.read_text(encoding="utf-8"), f"{path.relative_to(REPOSITORY)} contains {ROOT}"


def test_the_search_finds_what_it_looks_for() -> None:
    for written in ("lamplighter/v1/a/up/batch", "/down/", "lamplighter.v1.*.up", "%u/up/#"):
        assert PART.search(written)
    for other in ("https://hub/uploads/x", "up and down"):
        assert not PART.search(other)
