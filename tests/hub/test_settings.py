from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lamplighter_hub.settings import BadSettings, Settings, series_token

GOOD = "http://influx:8086?org=city&bucket=lamps"


@pytest.mark.parametrize("url", ["", GOOD, "https://x/influx?bucket=a%2Fb&org=c"])
def test_a_series_url_names_server_organisation_and_bucket(url: str) -> None:
    assert Settings(series_url=url).series_url == url


@pytest.mark.parametrize(
    "url",
    [
        "duckdb:///x",
        "influx",
        "http://influx:8086",
        "http://influx:8086?org=city",
        f"{GOOD}&token=secret",
        "http://me:secret@influx:8086?org=city&bucket=lamps",
        "http://?org=city&bucket=lamps",
        "http://influx:x?org=city&bucket=lamps",
        "http://influx?org=&bucket=lamps",
    ],
)
def test_another_series_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="http://host:8086"):
        Settings(series_url=url)


def test_the_series_token_comes_from_its_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    with pytest.raises(BadSettings, match="LAMPLIGHTER_SERIES_TOKEN"):
        series_token(Settings(series_url=GOOD))
    monkeypatch.setenv("LAMPLIGHTER_SERIES_TOKEN", "of-the-environment")
    assert series_token(Settings(series_url=GOOD)) == "of-the-environment"
    assert series_token(Settings(series_url=GOOD, series_token_file=file)) == "of-the-file"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_token_file_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSettings, match="--series-token-file") as raised:
        series_token(Settings(series_url=GOOD, series_token_file=file))
    assert "\n" not in str(raised.value)
