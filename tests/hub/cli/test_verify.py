"""`lamplighter verify` against a hub whose files are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.cli.program import Program
from lamplighter_hub.series.duckdb import open_duckdb
from services.hub import Hub
from services.process import Children
from suites.series.make import column, put

OLD = 1_735_689_600_000


@pytest.mark.services
def test_damage_is_named_and_gives_exit_code_1(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    store = open_duckdb(data)
    put(store, column("air-1", "pm25", [(OLD + i, float(i)) for i in range(500)]))
    store.seal()
    store.close()
    (raw,) = (data / "series").rglob("*.parquet")
    children = Children(tmp_path)
    try:
        Hub(data, children).start()
        lamplighter = Program(tmp_path)
        said = lamplighter("verify")
        assert (said.code, "nothing is damaged" in said.out + said.error, "3 files read" in said.out) == (0, True, True)
        whole = raw.read_bytes()
        raw.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        said = lamplighter("verify")
        assert said.code == 1
        assert str(raw.relative_to(data)) in said.out
        assert "1 damaged" in said.out
        told = lamplighter("verify", "--json")
        assert (told.code, [one["path"] for one in told.json["damaged"]]) == (1, [str(raw.relative_to(data))])
        said = lamplighter("export", "-o", str(tmp_path / "all.csv"))
        assert (said.code, f"left out: {raw.relative_to(data)}" in said.error) == (0, True)
        raw.write_bytes(whole)
        assert lamplighter("verify").code == 0
    finally:
        children.end()
