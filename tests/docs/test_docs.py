"""Documentation that fails when it lies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import stale
from docs.pages import DOCS, commands, options
from lamplighter_hub.settings import Settings
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.profile import parse_profile
from lamplighter_protocols.topics import ROOT, Channel
from services.need import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_generated_pages_are_fresh() -> None:
    assert not stale(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(read(page)):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {link}: no such heading"


def test_the_readme_leads_to_every_page() -> None:
    linked = {(REPOSITORY / link.partition("#")[0]).resolve() for link in LINK.findall(read(REPOSITORY / "README.md"))}
    lost = [page for page in DOCS.rglob("*.md") if page not in linked and page.parent.name != "decisions"]
    assert lost == [], "nobody finds them"


def test_every_option_of_every_command_is_described() -> None:
    page = read(DOCS / "cli.md")
    for command in commands():
        assert f"## lamplighter {command.words}\n" in page
        assert command.info.help, f"lamplighter {command.words} has no help"
        for option in options(command):
            assert option.help, f"lamplighter {command.words} {option.name} has no help"


def test_every_setting_is_described() -> None:
    page = read(DOCS / "settings.md")
    for name, field in Settings.model_fields.items():
        assert field.description, f"hub setting {name} has no description"
        assert f"`{name}`" in page


def test_every_channel_and_state_is_described() -> None:
    page = read(DOCS / "contract.md")
    assert ROOT in page
    for channel in Channel:
        row = next((line for line in page.splitlines() if line.startswith(f"| `{channel}")), "")
        assert ("| up" if channel.goes_up else "| down") in row, f"channel {channel}"
        assert ("/DEVICE`" in row) == channel.has_device, f"channel {channel}"
    for state in CommandState:
        assert f"| `{state}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_in_examples_exist(page: Path) -> None:
    known = {command.words for command in commands()}
    usual = {words.split()[0] for words in known}
    goals = set(re.findall(r"^([a-z]+):.*##", read(REPOSITORY / "Makefile"), re.MULTILINE))
    for line in "\n".join(SHELL.findall(read(page))).splitlines():
        words = line.split()
        if words[:1] == ["make"] and len(words) > 1:
            assert words[1] in goals, line
        if words and words[0].rpartition("/")[2] == "lamplighter" and len(words) > 1:
            assert " ".join(words[1:3]) in known or words[1] in usual, line


def test_the_profile_of_the_guide_is_a_profile() -> None:
    written = re.findall(r"```toml\n(id = .*?)```", read(DOCS / "guides" / "add-a-profile.md"), re.DOTALL)
    assert len(written) == 1
    assert parse_profile(written[0]).id == "my-gauge"


def test_the_readme_fits_a_screen_and_shows_both_commands() -> None:
    text = read(REPOSITORY / "README.md")
    assert len(text.splitlines()) <= 75
    assert "make up" in text
    assert "make test" in text
