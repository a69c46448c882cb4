"""The public names that outsiders build on. `python tests/architecture/names.py` writes the lists again."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from architecture.source import Module, modules  # noqa: E402 - run as a program, tests/ is not on the path before

LISTS = Path(__file__).resolve().parent / "names"
PINNED = {
    "lamplighter_protocols": ("lamplighter_protocols",),
    "lamplighter_agent": ("lamplighter_agent.driver", "lamplighter_agent.testing"),
}
"""For each package the modules whose names are a promise, with all below them."""


def listed(package: str) -> str:
    """Return the promised names of a package, one a line."""
    promised = [
        module
        for module in modules()
        if module.package == package
        and any(module.name == root or module.name.startswith(f"{root}.") for root in PINNED[package])
        and not any(part.startswith("_") for part in module.name.split("."))
    ]
    return "".join(f"{module.name}.{name}\n" for module in promised for name in sorted(public(module)))


def public(module: Module) -> set[str]:
    """Return the names that a module defines for others: `__all__`, else what has no underscore."""
    names = set(_defined(module.tree))
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return {name for name in names if not name.startswith("_")}


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


if __name__ == "__main__":
    LISTS.mkdir(exist_ok=True)
    for pinned in PINNED:
        (LISTS / f"{pinned}.txt").write_text(listed(pinned), encoding="utf-8")
