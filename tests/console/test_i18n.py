"""Both catalogues hold every message, no other, and say it with the same placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from lamplighter_hub import console
from lamplighter_hub.console import i18n, words

FOLDER = Path(console.__file__).parent
HUB = FOLDER.parent
METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
CJK = re.compile(r"[\u3400-\u9fff]")
Message = str | tuple[str, ...]


@cache
def used() -> frozenset[Message]:
    keywords = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
    found = extract_from_dir(FOLDER, METHODS, keywords=keywords)
    return frozenset(message if isinstance(message, str) else tuple(message[:2]) for _, _, message, _, _ in found)


def catalogue(language: i18n.Language) -> Catalog:
    path = i18n.FOLDER / language.folder / "LC_MESSAGES" / f"{i18n.DOMAIN}.po"
    with path.open("rb") as file:
        return read_po(file, locale=language.folder)


@pytest.mark.parametrize("language", i18n.LANGUAGES.values(), ids=i18n.LANGUAGES)
def test_no_message_is_missing_or_unused(language: i18n.Language) -> None:
    held = {
        message.id if isinstance(message.id, str) else tuple(message.id)
        for message in catalogue(language)
        if message.id
    }
    assert held - used() == set(), "unused"
    assert used() - held == set(), "missing"


@pytest.mark.parametrize("language", i18n.LANGUAGES.values(), ids=i18n.LANGUAGES)
def test_every_message_is_said_with_its_placeholders(language: i18n.Language) -> None:
    for message in catalogue(language):
        if not message.id:
            continue
        said = [message.string] if isinstance(message.string, str) else list(message.string or ())
        meant = message.id if isinstance(message.id, str) else message.id[1]
        assert all(said), message.id
        for text in said:
            assert sorted(re.findall(r"%\(\w+\)s", text)) == sorted(re.findall(r"%\(\w+\)s", meant)), message.id
            assert bool(CJK.search(text)) is (language.code == "zh") or not re.search(r"[a-z]", meant), message.id


@pytest.mark.parametrize("language", i18n.LANGUAGES.values(), ids=i18n.LANGUAGES)
def test_the_compiled_catalogue_is_of_its_source(language: i18n.Language) -> None:
    for message in catalogue(language):
        if isinstance(message.id, str) and message.id:
            assert language.say(message.id) == message.string, "run `python hub/hatch_build.py`"


def texts(path: Path) -> Iterator[str]:
    """Yield what a template writes between its tags and into attributes that people read."""
    source = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from re.findall(r'\b(?:title|aria-label|placeholder|alt)="([^"]*)"', source)
    yield from (text for text in re.findall(r">([^<]*)<", source) if '="' not in text)


@pytest.mark.parametrize("path", sorted((FOLDER / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_no_text_stands_outside_of_the_catalogues(path: Path) -> None:
    allowed = {
        "Lamplighter",
        "lamplighter",
        "enroll",
        "code",
        "sign",
        "in",
        "link",
        "agent",
        "CODE",
        "run",
        "config",
        "toml",
    }
    found = {word for text in texts(path) for word in re.findall(r"[A-Za-z\u3400-\u9fff]{2,}", text)}
    assert found <= allowed


def test_every_error_code_of_the_hub_has_words() -> None:
    codes = set()
    for path in HUB.rglob("*.py"):
        if FOLDER not in path.parents:
            codes |= set(re.findall(r"\bcode=\"([a-z_]+)\"", path.read_text(encoding="utf-8")))
    api_only = {
        "agent_exists", "agent_unknown", "code_for_another_agent", "code_unknown", "entry_unknown", "token_unknown",
        "too_many_codes", "too_many_tokens", "wrong_code", "wrong_token", "backup_not_complete", "backup_running",
        "backup_unknown", "no_room", "too_many_backups", "no_verification", "not_verifiable", "verification_running",
    }  # fmt: skip
    assert codes - api_only <= words.PROBLEMS.keys()
