"""A chart says in words and in the picture what it may lack, and that only roll-ups are left of a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from playwright.sync_api import expect

from console.browser.conftest import Visit
from console.browser.test_browser import check
from console.rig import Street, fill, street
from hub.series.test_damage import flip
from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.duckdb import DuckDbSeries
from lamplighter_protocols.profile import Retention

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LACKING = {"en": "Values may be missing, a stored file is damaged:", "zh": "存储文件损坏\uff0c以下时段的数值可能不全"}
COARSER = {"en": "one value for each 1 hr", "zh": "仅存汇总"}
CASES = [("en", "light", False), ("zh", "dark", False), ("zh", "light", True), ("en", "dark", True)]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A week of readings in files of a day, of which the oldest raw ones are gone and one file is damaged."""
    folder = tmp_path_factory.mktemp("town")
    with street(folder) as made:
        fill(made, more=1)
        series = made.hub.series
        assert isinstance(series, DuckDbSeries)
        series.seal()
        ages = dict.fromkeys(Retention, Ages(raw=4, minute=4, hour=100))
        series.expire(Policy(ages, lambda *_: Retention.STANDARD, lambda *_: Retention.STANDARD), made.now())
        flip(min(path for path in folder.rglob("*.parquet") if "rollups" not in path.parts), 50)
        assert [item for item in series.check() if item.fault]
        yield made


def days_ago(town: Street, start: float, end: float) -> str:
    begin, stop = (local(town.now() - int(days * DAY)) for days in (start, end))
    return f"from={begin}&to={stop}"


def local(t: int) -> str:
    return datetime.fromtimestamp(t / 1000).strftime("%Y-%m-%dT%H:%M")  # noqa: DTZ006


@pytest.mark.parametrize(("language", "theme", "phone"), CASES)
def test_a_chart_and_a_table_say_what_they_lack(
    town: Street, enter: Visit, language: str, theme: str, *, phone: bool
) -> None:
    watched = enter(town, language=language, theme=theme, phone=phone)
    name = f"{language}-{theme}-{'phone' if phone else 'desktop'}"
    page = watched.open("/devices/air-1?range=7d")
    lacking = page.locator('section:has([data-metric="pm25"]) [data-lacking]')
    expect(lacking).to_contain_text(LACKING[language])
    expect(lacking.locator("svg")).to_be_visible()
    check(page, f"lacking-{name}")
    page = watched.open("/devices/air-1?range=7d&view=table")
    expect(page.locator(".note").first).to_contain_text(LACKING[language])
    page = watched.open("/devices/air-1")
    expect(page.locator('section:has([data-metric="pm25"]) [data-lacking]')).to_be_hidden()
    expect(page.locator('section:has([data-metric="pm25"]) [data-coarser]')).to_be_hidden()


@pytest.mark.parametrize(("language", "theme", "phone"), CASES)
def test_a_chart_and_a_table_show_the_roll_ups_that_are_left(
    town: Street, enter: Visit, language: str, theme: str, *, phone: bool
) -> None:
    watched = enter(town, language=language, theme=theme, phone=phone)
    asked = days_ago(town, 6.5, 6.0)
    page = watched.open(f"/devices/air-1?{asked}")
    section = page.locator('section:has([data-metric="pm25"])')
    expect(section.locator("[data-coarser]")).to_contain_text(COARSER[language])
    assert int(section.locator("[data-chart]").get_attribute("data-points") or 0) in range(12, 15)
    check(page, f"coarser-{language}-{theme}-{'phone' if phone else 'desktop'}")
    page = watched.open(f"/devices/air-1?{asked}&view=table")
    expect(page.locator(".note").first).to_contain_text(COARSER[language])


@pytest.mark.parametrize(("language", "theme", "phone"), CASES)
def test_a_range_shorter_than_what_is_left_shows_the_whole_hour(
    town: Street, enter: Visit, language: str, theme: str, *, phone: bool
) -> None:
    watched = enter(town, language=language, theme=theme, phone=phone)
    begin = (town.now() - 6 * DAY) // HOUR * HOUR + 20 * MINUTE
    asked = f"from={local(begin)}&to={local(begin + 10 * MINUTE)}"
    page = watched.open(f"/devices/air-1?{asked}")
    section = page.locator('section:has([data-metric="pm25"])')
    expect(section.locator("[data-coarser]")).to_contain_text(COARSER[language])
    chart = section.locator("[data-chart]")
    expect(chart).to_have_attribute("data-points", "1")
    expect(section.locator(".plot-empty")).to_be_hidden()
    hour = begin // HOUR * HOUR
    shown = [int(chart.get_attribute(f"data-{name}") or 0) * 1000 for name in ("begin", "edge")]
    assert shown == [hour, hour + HOUR], "the picture is as wide as what it shows"
    check(page, f"whole-{language}-{theme}-{'phone' if phone else 'desktop'}")
    page = watched.open(f"/devices/air-1?{asked}&view=table")
    table = page.locator("section:has(#title-pm25)")
    expect(table.locator(".note")).to_contain_text(COARSER[language])
    expect(table.locator("tbody tr")).to_have_count(1)
