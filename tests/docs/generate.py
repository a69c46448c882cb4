"""Writes the generated pages of docs/; with --check only says whether they are fresh. Run by make."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from docs.pages import DOCS, PAGES  # noqa: E402 - run as a program, tests/ is not on the path before


def stale() -> list[Path]:
    """Return the pages that the code would write otherwise now."""
    return [page for page, write in PAGES.items() if not page.is_file() or page.read_text(encoding="utf-8") != write()]


def main(*, check: bool) -> int:
    """Write or check. Returns the exit code."""
    old = stale()
    if check:
        for page in old:
            sys.stderr.write(f"{page.relative_to(DOCS.parent)} is stale: run make docs\n")
        return 1 if old else 0
    for page in old:
        page.write_text(PAGES[page](), encoding="utf-8")
        sys.stdout.write(f"wrote {page.relative_to(DOCS.parent)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
