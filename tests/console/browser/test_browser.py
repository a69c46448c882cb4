"""What a person does in a real browser: sign in, watch, configure, command, look at every page in every dress."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.browser.conftest import Visit, beating
from console.rig import Street, fill, street
from services.wait import eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SHOTS = Path(__file__).parents[1] / "shots"
PAGES = {
    "overview": "/",
    "devices": "/devices",
    "device": "/devices/air-1",
    "device-day": "/devices/air-1?range=7d",
    "table": "/devices/air-1?range=1h&view=table",
    "events": "/devices/kiosk-1/events",
    "configuration": "/devices/air-1/configuration",
    "commands": "/devices/kiosk-1/commands",
    "quarantine": "/quarantine",
    "command-form": "/devices/kiosk-1/commands/new/reboot",
    "not-found": "/devices/no-such",
}
SERIOUS = {"serious", "critical"}
CUT = """panel => [...panel.querySelectorAll(".scroll, .what > div")]
    .filter(part => part.scrollWidth > part.clientWidth).map(part => part.textContent.trim().slice(0, 80))"""


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Street]:
    """A filled street that a test may change."""
    with street(tmp_path) as made:
        fill(made, more=10)
        yield made


def check(page: Page, name: str) -> None:
    """Nothing sticks out, nobody is locked out, and there is a picture to look at."""
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
    wide, inside = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= inside, f"{name} is {wide} wide in a window of {inside}"
    found = Axe().run(page).response["violations"]
    bad = {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in found if rule["impact"] in SERIOUS}
    assert bad == {}, name


def test_sign_in_sign_out_and_switches(empty_street: Street, visit: Visit) -> None:
    watched = visit(empty_street)
    page = watched.page
    page.goto(empty_street.link())
    check(page, "sign-in")
    page.locator("#sign-in").click()
    page.wait_for_url(f"{empty_street.url}/")
    expect(page.locator("h1")).to_have_text("Overview")
    expect(page.locator("[data-live]")).to_have_text("Live")
    check(page, "empty")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("总览")
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="退出登录").click()
    page.wait_for_url(f"{empty_street.url}/sign-in")


def test_a_device_that_appears_and_vanishes_is_seen_without_a_reload(empty_street: Street, enter: Visit) -> None:
    page = enter(empty_street).open("/")
    expect(page.locator("[data-live]")).to_have_text("Live")
    empty_street.enrol("hall", {"kiosk-1": "kiosk"})
    expect(page.locator('.tile[href="/devices?state=online"]')).to_have_attribute("data-count", "1")
    page.locator('.tile[href="/devices?state=online"]').click()
    row = page.locator("#device-kiosk-1")
    expect(row).to_contain_text("Online")
    expect(page.locator("[data-live]")).to_have_text("Live")
    empty_street.leave("hall", "connection_lost")
    expect(row).to_contain_text("Offline")
    expect(row).to_contain_text("Connection lost")


def test_values_and_charts_move(town: Street, enter: Visit) -> None:
    page = enter(town).open("/devices/air-1")
    chart = page.locator('[data-metric="pm25"]')
    expect(page.locator("[data-live]")).to_have_text("Live")
    before = int(chart.get_attribute("data-last") or 0), int(chart.get_attribute("data-edge") or 0)
    points = int(chart.get_attribute("data-points") or 0)
    assert points > 100

    def beat() -> None:
        town.readings("station-road", "air-1", times=[town.now()], pm25=[123.0])

    with beating(town, beat):
        expect(page.locator('[data-latest="pm25"]')).to_have_text("123")
        eventually(lambda: int(chart.get_attribute("data-last") or 0) > before[0])
        eventually(lambda: int(chart.get_attribute("data-edge") or 0) > before[1] + 1)
        expect(page.locator('#latest [data-now="pm25"]')).to_contain_text("123")
    assert town.hub.live.listeners == 2, "one stream for the browser, one for the rates"


@pytest.mark.parametrize(
    ("language", "live", "said"), [("en", "Live", "Flagged 2 · Spike"), ("zh", "实时", "异常标记 2 · 突跳")]
)
def test_a_flagged_value_is_said_beside_its_chart(
    town: Street, enter: Visit, language: str, live: str, said: str
) -> None:
    page = enter(town, language=language).open("/devices/air-1")
    beside = page.locator('section:has([data-metric="temp"]) [data-flagged]')
    expect(beside).to_contain_text("1")
    expect(page.locator("[data-live]")).to_have_text(live)
    town.readings("station-road", "air-1", times=[town.now()], temp=[55.0])
    expect(beside).to_have_text(said)
    expect(beside.locator("svg")).to_be_visible()
    expect(page.locator("#latest")).to_contain_text(said.rpartition(" ")[2])
    expect(page.locator('section:has([data-metric="pm10"]) [data-flagged]')).to_be_hidden()
    page.screenshot(path=SHOTS / f"flagged-{language}.png")


def test_rates_are_there_at_first_sight(town: Street, enter: Visit) -> None:
    def beat() -> None:
        town.readings("station-road", "air-1", times=[town.now()], pm25=[20.0], pm10=[30.0])

    watched = enter(town)
    with beating(town, beat, every_s=0.2):
        eventually(lambda: len(town.app.state.rates.rows()) > 3)
        page = watched.open("/")
        chart = page.locator("[data-rate]")
        eventually(lambda: int(chart.get_attribute("data-points") or 0) > 5)
        expect(page.locator(".chart-head .now")).not_to_have_text("\N{EN DASH}")


def test_a_command_to_its_end(town: Street, enter: Visit) -> None:
    page = enter(town).open("/devices/kiosk-1/commands")
    expect(page.locator("[data-live]")).to_have_text("Live")
    page.locator("#send-reboot").click()
    send = page.locator("[data-needs-confirmation]")
    expect(send).to_be_disabled()
    page.get_by_label("Grace period").fill("900")
    page.get_by_label("Reason").fill("Frozen screen")
    page.get_by_label("Type kiosk-1").fill("kiosk-1")
    send.click()
    expect(page.locator("#arg-grace_s-error")).to_contain_text("0 \N{EN DASH} 300 s")
    check(page, "command-refused")
    page.get_by_label("Grace period").fill("30")
    page.get_by_label("Type kiosk-1").fill("kiosk-1")
    send.click()
    progress = page.locator("#command[data-command]")
    expect(progress).to_have_attribute("data-command-state", "sent")
    command = progress.get_attribute("data-command") or ""
    for state in ("received", "running", "succeeded"):
        data: dict[str, Any] = {"boot": 12} if state == "succeeded" else {}
        town.result("service-hall", "kiosk-1", command, state, **data)
        expect(progress).to_have_attribute("data-command-state", state)
    expect(progress).to_contain_text("boot 12")
    check(page, "command-done")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).not_to_be_visible()
    expect(page.locator("#send-reboot")).to_be_focused()
    expect(page.locator("#sent-commands")).to_contain_text("Succeeded")


def test_configuration_refused_then_applied(town: Street, enter: Visit) -> None:
    page = enter(town).open("/devices/air-1/configuration")
    expect(page.locator("[data-live]")).to_have_text("Live")
    page.get_by_label("Sampling interval").fill("0.1")
    page.get_by_role("button", name="Save and send").click()
    expect(page.locator("#field-interval_s-error")).to_be_visible()
    expect(page.get_by_label("Sampling interval")).to_have_value("0.1")
    check(page, "configuration-refused")
    page.get_by_label("Sampling interval").fill("5")
    page.get_by_role("button", name="Save and send").click()
    state = page.locator("#configuration-state")
    expect(state).to_have_attribute("data-state", "pending")
    town.reported("station-road", "air-1")
    expect(state).to_have_attribute("data-state", "applied")
    expect(page.locator("#configuration-history")).to_contain_text("Applied")
    expect(page.locator("#field-interval_s-reported")).to_have_text("5")
    check(page, "configuration-applied")


def test_a_search_narrows_the_list_and_the_address(town: Street, enter: Visit) -> None:
    page = enter(town).open("/devices")
    page.keyboard.press("/")
    page.keyboard.type("kiosk")
    expect(page.locator("tr[data-device]")).to_have_count(2)
    page.wait_for_url("**/devices?q=kiosk**")
    page.reload()
    expect(page.locator("tr[data-device]")).to_have_count(2)


def test_a_lost_session_keeps_what_was_typed(town: Street, enter: Visit) -> None:
    watched = enter(town)
    page = watched.open("/devices/air-1/configuration")
    page.get_by_label("Sampling interval").fill("7")
    page.context.clear_cookies()
    page.get_by_role("button", name="Save and send").click()
    expect(page.locator("#session-ended")).to_be_visible()
    page.locator("#session-ended [data-dismiss]").click()
    expect(page.get_by_label("Sampling interval")).to_have_value("7")
    watched.complaints[:] = [said for said in watched.complaints if "401" not in said]


def test_a_click_that_the_hub_does_not_answer_is_said_to_be_so(town: Street, enter: Visit) -> None:
    watched = enter(town)
    page = watched.open("/devices/kiosk-1/commands")
    page.route("**/commands/new/*", lambda route: route.abort("connectionrefused"))
    page.route("**/commands/sent*", lambda route: route.abort("connectionrefused"))
    page.locator("[hx-get*='/commands/new/']").first.click()
    expect(page.locator("#unanswered")).to_be_visible()
    page.locator("#unanswered [data-dismiss]").click()
    expect(page.locator("#unanswered")).to_be_hidden()
    with page.expect_event("requestfailed"):
        page.evaluate("document.body.dispatchEvent(new CustomEvent('hub:resync'))")
    expect(page.locator("#unanswered")).to_be_hidden()
    watched.complaints.clear()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_page_in_every_dress(city: Street, enter: Visit, language: str, theme: str) -> None:
    watched = enter(city, language=language, theme=theme)
    for name, path in PAGES.items():
        check(watched.open(path), f"{name}-{language}-{theme}")
        watched.complaints[:] = [said for said in watched.complaints if "404" not in said]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_page_on_a_phone(city: Street, enter: Visit, language: str) -> None:
    watched = enter(city, language=language, theme="dark", phone=True)
    for name, path in PAGES.items():
        page = watched.open(path)
        check(page, f"{name}-{language}-phone")
        for panel in page.locator("#delivery, #agent-delivery, #latest, #waiting").all():
            cut = panel.evaluate(CUT)
            assert cut == [], f"{name}: {cut} are cut off"
        small = [
            box["height"]
            for link in page.locator(".rail a").all()
            if (box := link.bounding_box()) is not None and box["height"] < 48
        ]
        assert small == []
        watched.complaints[:] = [said for said in watched.complaints if "404" not in said]
