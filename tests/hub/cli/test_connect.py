"""How a command finds its hub, and that a token goes nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamplighter_hub.cli.client import Address, Failed
from lamplighter_hub.cli.connect import find
from lamplighter_hub.settings import ClientSettings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "cli.json").write_text(json.dumps({"url": "http://127.0.0.1:8080", "token": "own"}))
    return tmp_path


def test_the_folder_knows_both(data: Path) -> None:
    assert find(ClientSettings(), data) == Address("http://127.0.0.1:8080", "own")


def test_options_come_before_the_environment(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPLIGHTER_URL", "http://hub.example")
    monkeypatch.setenv("LAMPLIGHTER_TOKEN", "from-environment")
    assert find(ClientSettings(), data) == Address("http://hub.example", "from-environment")
    assert find(ClientSettings(token="given"), data) == Address("http://hub.example", "given")


def test_a_token_of_the_folder_is_not_sent_to_another_address(data: Path) -> None:
    assert find(ClientSettings(url="http://elsewhere.example"), data) == Address("http://elsewhere.example", "")
    assert find(ClientSettings(url="http://127.0.0.1:8080/"), data) == Address("http://127.0.0.1:8080", "own")


def test_an_address_alone_needs_no_folder(tmp_path: Path) -> None:
    assert find(ClientSettings(url="http://hub.example/"), tmp_path / "none") == Address("http://hub.example", "")


def test_without_any_the_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        find(ClientSettings(), tmp_path)
    assert "lamplighter up" in failed.value.then


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"url": "http://x"}'])
def test_a_broken_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cli.json").write_text(text)
    with pytest.raises(Failed, match=r"cli\.json cannot be read"):
        find(ClientSettings(), tmp_path)
