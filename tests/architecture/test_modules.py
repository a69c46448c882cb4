"""Habits that a reader relies on in every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from architecture.source import MEMBERS, Module, modules
from services.need import REPOSITORY

CEILING = 500
LONGER: dict[str, int] = {}
"""Modules over the ceiling, with their length; entries may only shrink and go."""
SETTINGS = frozenset({"settings"})
BROAD = frozenset({"Exception", "BaseException"})
PAUSES = frozenset({"tests/services/wait.py"})
"""Where tests may sleep: between two looks at a condition."""


def test_no_module_is_longer_than_the_ceiling() -> None:
    for path in [module.path for module in modules()] + sorted((REPOSITORY / "tests").rglob("*.py")):
        place = path.relative_to(REPOSITORY).as_posix()
        lines = len(path.read_text(encoding="utf-8").splitlines())
        allowed = LONGER.get(place, CEILING)
        assert lines <= allowed, f"{place} has {lines} lines, {allowed} are allowed: split it by what it does"


def test_the_list_of_longer_modules_only_shrinks() -> None:
    for place, lines in LONGER.items():
        now = len((REPOSITORY / place).read_text(encoding="utf-8").splitlines())
        assert CEILING < now == lines, f"{place} has {now} lines now: correct or delete its entry"


def test_no_room_is_called_utils() -> None:
    for module in modules():
        assert not {"utils", "util", "helpers", "common", "misc"} & set(module.name.split(".")), module.place


def test_a_broad_except_is_a_supervision_point_and_says_so() -> None:
    for module in modules():
        lines = module.text.splitlines()
        for line in _broad(module):
            said = " ".join(lines[max(0, line - 2) : line + 2])
            assert "supervision" in said.lower(), f"{module.place}:{line} catches everything; say `# supervision: why`"


def _broad(module: Module) -> Iterator[int]:
    """Return the lines where everything is caught and kept."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            if (node.type is None or _names(node.type) & BROAD) and not _raises_again(node):
                yield node.lineno
        elif isinstance(node, ast.Call) and "suppress" in _names(node.func):
            yield from (node.lineno for caught in node.args if _names(caught) & BROAD)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """Whether nothing is swallowed: the handler tidies up and lets the error go on."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _names(tree: ast.expr) -> set[str]:
    parts = list(ast.walk(tree))
    named = {part.id for part in parts if isinstance(part, ast.Name)}
    return named | {part.attr for part in parts if isinstance(part, ast.Attribute)}


def test_only_settings_read_the_environment() -> None:
    for module in modules():
        if module.name.rpartition(".")[2] in SETTINGS:
            continue
        for node in ast.walk(module.tree):
            named = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
            assert not named, f"{module.place}:{getattr(node, 'lineno', 0)} reads the environment"


def test_every_module_says_what_it_is_for() -> None:
    for module in modules():
        assert ast.get_docstring(module.tree) or not module.text.strip(), f"{module.place} has no docstring"


def test_every_member_is_typed() -> None:
    for package, folder in MEMBERS.items():
        assert (REPOSITORY / folder / "src" / package / "py.typed").is_file()


def test_tests_wait_for_conditions_and_never_just_sleep() -> None:
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        place = path.relative_to(REPOSITORY).as_posix()
        if place in PAUSES or not path.name.startswith(("test_", "conftest")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
                given = node.args[0] if node.args else None
                yields = isinstance(given, ast.Constant) and given.value == 0
                assert yields, f"{place}:{node.lineno} sleeps: use services.wait.eventually"
