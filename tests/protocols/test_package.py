"""What the package as a whole promises: examples that are true, few imports, no weight."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import lamplighter_protocols

MODULES = [module.name for module in pkgutil.walk_packages(lamplighter_protocols.__path__, "lamplighter_protocols.")]
ALLOWED = frozenset({"lamplighter_protocols", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"})
ALLOWED_TOO = ALLOWED | {"typing_extensions"}


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_only_pydantic_is_loaded_beside_the_standard_library() -> None:
    script = f"import sys; before = set(sys.modules); import {', '.join(MODULES)}; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    roots = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {root for root in roots if not root.startswith("_")} <= ALLOWED_TOO
    assert not {"asyncio", "ssl", "subprocess", "multiprocessing", "http", "logging"} & set(loaded)
