"""Every page and fragment: whole HTML, both languages, all roles, hostile data, empty and error states."""

from __future__ import annotations

import re

import httpx
import pytest

from console.conftest import csrf, sign_in
from console.html import read
from console.rig import Street
from lamplighter_hub.access.roles import Role

PAGES = (
    "/",
    "/devices",
    "/devices?state=offline&q=air",
    "/devices?q=nothing-like-it",
    "/devices/air-1",
    "/devices/air-1?range=7d&view=table",
    "/devices/air-1?from=2026-01-01T00:00&to=2026-01-02T00:00",
    "/devices/kiosk-1/events",
    "/devices/kiosk-1/events?name=paper_low",
    "/devices/air-1/configuration",
    "/devices/kiosk-1/commands",
    "/devices/kiosk-1/commands/new/reboot",
    "/devices/air-1/commands/new/set_heater",
    "/devices/flood-9",
)
FRAGMENTS = (
    "/overview/health",
    "/overview/delivery",
    "/agents/station-road/delivery",
    "/overview/events",
    "/overview/refused",
    "/devices?q=air",
    "/devices/rows?device=air-1&device=no-such",
    "/devices/air-1/head",
    "/devices/air-1/latest",
    "/devices/kiosk-1/recent",
    "/devices/air-1/configuration/state",
    "/devices/air-1/configuration/history",
    "/devices/kiosk-1/commands/sent",
    "/devices/kiosk-1/commands/new/reboot",
)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|js:", re.IGNORECASE)


@pytest.fixture(scope="module", params=["en", "zh"])
def reader(city: Street, request: pytest.FixtureRequest) -> httpx.Client:
    return sign_in(city, language=request.param)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole(reader: httpx.Client, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == 200
    page = read(answer.text)
    assert len(page.all("h1")) == 1
    assert page.one("html").get("lang") in {"en", "zh-CN"}
    assert page.one("main").get("id") == "main"
    assert all(table.all("th", scope="col") for table in page.all("table"))
    for control in [*page.all("input"), *page.all("select")]:
        named = (
            control.get("aria-label")
            or control.get("aria-labelledby")
            or page.all("label", **{"for": control.get("id")})
        )
        assert named or control.get("type") == "hidden", control.attributes
    assert not INLINE.search(answer.text)


@pytest.mark.parametrize("path", FRAGMENTS)
def test_a_fragment_is_not_a_page(reader: httpx.Client, path: str) -> None:
    answer = reader.get(path, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    read(f"<table>{answer.text}</table>" if "/rows" in path else answer.text)
    assert not INLINE.search(answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_sent_to_the_sign_in(city: Street, path: str) -> None:
    client = city.visit()
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
    assert client.get(path, headers={"HX-Request": "true"}).status_code == 401


def test_headers_keep_the_browser_strict(reader: httpx.Client) -> None:
    headers = reader.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_static_files_are_kept_for_ever(reader: httpx.Client) -> None:
    page = read(reader.get("/").text)
    for address in [script.get("src") for script in page.all("script")] + [
        link.get("href") for link in page.all("link")
    ]:
        answer = reader.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]


def test_the_overview_counts_and_tells_the_truth(city: Street) -> None:
    page = read(sign_in(city).get("/").text)
    tiles = {tile.get("href"): tile.get("data-count") for tile in page.all("a", class_="tile")}
    counts = city.hub.devices.counts()
    assert tiles == {f"/devices?state={state}": str(count) for state, count in counts.items()}
    totals = city.hub.ledger.totals()
    truth = page.one(id="delivery").text
    assert f"{totals['stored']} stored" in truth
    assert "Nothing is missing as far as is known" in truth, "no agent of this street has said what it holds"
    refused = page.one(id="refused").text
    assert "Wrong secret" in refused
    assert "\N{MULTIPLICATION SIGN} 12" in refused
    assert "Device of another agent" in refused
    assert "Paper jam" in page.one(id="events").text


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("takes no data", "oldest raw readings were removed", "1 stored file is damaged")),
        ("zh", ("存储暂不接收数据", "已移除最早的原始读数", "1 个存储文件已损坏")),
    ],
)
def test_the_overview_says_what_is_wrong_with_the_store(
    empty_street: Street, language: str, words: tuple[str, ...]
) -> None:
    client = sign_in(empty_street, language=language)
    assert read(client.get("/overview/store").text).one(id="store").text == ""
    gone = {"for_room": 3, "for_room_bytes": 7_250_000, "for_room_from": 1_000, "for_room_to": 2_000, "for_room_at": 9}
    told = {"refusing": "the disk has less than 7 MB left", "damaged": ["series/a.parquet"], "gone": gone}
    empty_street.hub.facts["sealing"] = lambda: told
    for path in ("/", "/overview/store"):
        text = read(client.get(path).text).one(id="store").text
        assert all(word in text for word in (*words, "7.2 MB", "series/a.parquet", "less than 7 MB"))


def test_devices_are_paged_by_key(city: Street) -> None:
    client = sign_in(city)
    first = read(client.get("/devices?state=offline").text)
    rows = [row.get("data-device") for row in first.all("tr") if row.get("data-device")]
    assert len(rows) == 50
    following = first.one("a", rel="next").get("href")
    more = [row.get("data-device") for row in read(client.get(following).text).all("tr") if row.get("data-device")]
    assert len(more) == 20
    assert not set(rows) & set(more)
    assert "Connection lost" in first.text


def test_state_is_shape_word_and_colour(city: Street) -> None:
    page = read(sign_in(city, language="zh").get("/devices?q=air-1").text)
    online, offline = page.all("span", data_state="online")[0], page.all("span", data_state="offline")[0]
    for shown, word, name in ((online, "在线", "online"), (offline, "离线", "offline")):
        assert shown.text == word
        assert f"is-{name}" in shown.get("class")
        assert shown.one("use").get("href").endswith(f"#{name}")


def test_titles_come_in_the_language(city: Street) -> None:
    assert "细颗粒物 PM2.5" in sign_in(city, language="zh").get("/devices/air-1").text
    assert "Fine particles PM2.5" in sign_in(city, language="en").get("/devices/air-1").text


def test_a_table_twin_has_the_charts_values(city: Street) -> None:
    page = read(sign_in(city).get("/devices/air-1?range=15m&view=table").text)
    assert not page.all("figure")
    panel = next(p for p in page.all("section") if p.get("aria-labelledby") == "title-pm25")
    assert 30 < len(panel.all("tr")) <= 92


def test_quality_is_said(city: Street) -> None:
    latest = read(sign_in(city).get("/devices/air-1").text).one(id="latest")
    assert "Sensor fault" in latest.text


def test_a_wrong_range_is_one_line(city: Street) -> None:
    answer = sign_in(city).get("/devices/air-1?from=2026-02-01T00:00&to=2026-01-01T00:00")
    assert answer.status_code == 200
    assert "must be later" in read(answer.text).one("p", role="alert").text


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/devices/no-such", 404, "Device not found"),
        ("/devices/air-1/commands/new/no_such", 404, "Command not found"),
        ("/devices/air-1/commands/01M80T5JNV0000000000000000", 404, "Command not found"),
        ("/devices/air-1/events?cursor=%00x", 422, "Some fields are not valid"),
        ("/devices?cursor=%F0%9F%92%A1", 422, "Some fields are not valid"),
        ("/devices/NOT-AN-ID", 422, "Some fields are not valid"),
        ("/nothing/here", 404, "Not found"),
    ],
)
def test_errors_are_pages_in_the_language(city: Street, path: str, status: int, text: str) -> None:
    answer = sign_in(city).get(path)
    assert answer.status_code == status
    assert text in read(answer.text).one("h1").text
    assert "Traceback" not in answer.text
    fragment = sign_in(city, language="zh").get(path, headers={"HX-Request": "true"})
    assert fragment.status_code == status
    assert "<html" not in fragment.text
    assert text not in fragment.text


def test_an_empty_hub_says_what_to_do(empty_street: Street) -> None:
    client = sign_in(empty_street)
    for path in ("/", "/devices"):
        text = read(client.get(path).text).text
        assert "lamplighter enroll-code" in text
        assert f"lamplighter-agent enroll {empty_street.url} CODE" in text
        assert "lamplighter-agent run --config agent.toml" in text


def test_a_device_without_values_says_what_to_check(city: Street) -> None:
    assert "No value has arrived yet." in sign_in(city).get("/devices/noise-1").text


def test_hostile_data_stays_text(empty_street: Street) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
    empty_street.enrol("a", {"kiosk-1": "kiosk"})
    now = empty_street.now()
    empty_street.readings("a", "kiosk-1", times=[now], door=[bad], ui_state=[bad[:40]])
    empty_street.event("a", "kiosk-1", "paper_low", now, x=bad, y={"deep": [bad]})
    empty_street.hub.refusals.record(bad, "unknown_agent", bad)
    empty_street.leave("a", bad)
    client = sign_in(empty_street)
    empty_street.hub.configuration.put("kiosk-1", {"volume": 5}, f"session {bad}")
    empty_street.reported("a", "kiosk-1", "rejected", bad, [{"field": bad, "detail": bad}])
    for path in (
        "/",
        "/devices",
        *(f"/devices/kiosk-1{tab}" for tab in ("", "/events", "/configuration", "/commands")),
    ):
        text = client.get(path).text
        read(text)
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "49}" not in text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_viewer_sees_no_way_to_act(city: Street, role: Role) -> None:
    client = sign_in(city, role)
    may = role is Role.OPERATOR
    page = read(client.get("/devices/kiosk-1/commands").text)
    assert bool(page.all(id="send-reboot")) is may
    configuration = read(client.get("/devices/air-1/configuration").text)
    assert bool([c for c in configuration.all("input") if c.get("name").startswith("field.")]) is may
    assert client.get("/devices/kiosk-1/commands/new/reboot").status_code == (200 if may else 403)


def test_a_viewer_is_refused_by_the_server_too(city: Street) -> None:
    client = sign_in(city, Role.VIEWER)
    for path in ("/devices/air-1/configuration", "/devices/kiosk-1/commands/new/lock"):
        answer = client.post(path, headers=csrf(client), data={"field.interval_s": "5"})
        assert answer.status_code == 403
        assert "Your role is not sufficient" in answer.text
