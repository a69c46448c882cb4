"""The same targets under Atheris, which follows what new inputs reach: `python -m fuzz.guided TARGET [-runs=N]`.

Needs `pip install atheris`. What it finds, and where it crashed, it prints itself (libFuzzer's options and report).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lamplighter_protocols", "lamplighter_agent.settings"]):
    from fuzz.targets import DOCUMENTED, targets


def main() -> None:
    """Run until something else than a documented error comes, or the runs are over."""
    folder = Path(tempfile.mkdtemp(prefix="lamplighter-guided-"))
    (target,) = (target for target in targets(folder) if target.name == sys.argv[1])
    target.open()
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, payload in enumerate(target.corpus):
        (corpus / str(number)).write_bytes(payload)

    def feed(payload: bytes) -> None:
        try:
            target.feed(payload)
        except DOCUMENTED as error:
            if not str(error).isprintable():
                raise AssertionError(f"an error of more than one line: {error!r}") from error

    atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
