"""Languages of the console: gettext catalogues compiled at build time, and which of them a visitor gets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from babel import Locale
from babel.support import NullTranslations, Translations

from lamplighter_hub.console.assets import AssetsMissing

FOLDER: Final = Path(__file__).parent / "locale"
DOMAIN: Final = "console"
COOKIE: Final = "lamplighter_language"
DEFAULT: Final = "en"


def N_(message: str) -> str:  # noqa: N802 - gettext's customary name
    """Mark a message for the catalogues; it is translated where it is shown."""
    return message


@dataclass(frozen=True)
class Language:
    """One language: `code` in cookies and profile titles, `tag` for HTML, `own_name` for the switch."""

    code: str
    tag: str
    folder: str
    own_name: str

    @cached_property
    def locale(self) -> Locale:
        """How it writes numbers and dates."""
        return Locale.parse(self.folder)

    @cached_property
    def translations(self) -> NullTranslations:
        """Its messages. Raises AssetsMissing when the catalogue was not compiled."""
        if not (FOLDER / self.folder / "LC_MESSAGES" / f"{DOMAIN}.mo").is_file():
            raise AssetsMissing(f"the catalogue of {self.folder} is not compiled: run `python hub/hatch_build.py`")
        return Translations.load(FOLDER, [self.folder], DOMAIN)

    def say(self, message: str) -> str:
        """Translate a message that was marked with `N_`."""
        return str(self.translations.ugettext(message))

    def pick(self, titles: dict[str, str], otherwise: str) -> str:
        """Return a catalogue's own title in this language, else in English, else any, else `otherwise`."""
        return titles.get(self.code) or titles.get(DEFAULT) or next(iter(titles.values()), otherwise)


LANGUAGES: Final = {
    "zh": Language("zh", "zh-CN", "zh_CN", "中文"),
    "en": Language("en", "en", "en", "English"),
}


def choose(cookie: str, accept_language: str) -> Language:
    """Return the visitor's language: their own choice, else the first that their browser asks for.

    >>> choose("", "fr, zh-CN;q=0.9, en;q=0.8").code
    'zh'
    """
    if cookie in LANGUAGES:
        return LANGUAGES[cookie]
    for tag in _by_weight(accept_language):
        if tag[:2].lower() in LANGUAGES:
            return LANGUAGES[tag[:2].lower()]
    return LANGUAGES[DEFAULT]


def _by_weight(accept_language: str) -> list[str]:
    weighted = []
    for part in accept_language[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighted.append((-float(weight or 1), tag))
        except ValueError:
            continue
    return [tag for _, tag in sorted(weighted, key=lambda pair: pair[0])]
