"""A public name does not vanish or appear by accident."""

from __future__ import annotations

import pytest

from architecture.names import LISTS, PINNED, listed


@pytest.mark.parametrize("package", PINNED)
def test_public_names_are_as_pinned(package: str) -> None:
    pinned = set((LISTS / f"{package}.txt").read_text(encoding="utf-8").splitlines())
    present = set(listed(package).splitlines())
    assert present == pinned, (
        f"gone: {sorted(pinned - present)}, new: {sorted(present - pinned)}; if that is meant, say so in CHANGELOG.md "
        "and run: .venv/bin/python tests/architecture/names.py"
    )
