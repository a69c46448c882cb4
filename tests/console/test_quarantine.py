"""Quarantine through the pages: the proposed shift, what a release would do, and the release itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from console.conftest import csrf, sign_in
from console.html import Element, read
from console.rig import Street, street
from lamplighter_hub.access.roles import Role
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME

ZONE = 8 * 3_600_000


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Street]:
    """A station eight hours ahead has reported three times; ingest attends to what it is asked."""
    with street(tmp_path) as made:
        made.enrol("hall", {"air-1": "air-station"})
        for number in range(3):
            arrived = made.now() - 90_000 + 30_000 * number
            made.readings("hall", "air-1", times=[arrived + ZONE], temp=[20.0 + number], arrived=arrived)
        stop = threading.Event()

        def attend() -> None:
            while not stop.wait(0.005):
                made.ingest.attend(stop)

        thread = threading.Thread(target=attend)
        thread.start()
        yield made
        stop.set()
        thread.join()


def values(made: Street) -> list[tuple[bool, object]]:
    found, _ = made.hub.series.readings("air-1", ["temp"], BEGINNING, END_OF_TIME, limit=9)
    return [(abs(one.t - made.now()) < 120_000, one.value) for one in found]


def fields(page: Element) -> dict[str, str]:
    return {field.get("name") or "": field.get("value") or "" for field in page.all("input") if field.get("name")}


def send(client: httpx.Client, page: Element, **more: str) -> Element:
    answer = client.post("/quarantine/release", data=fields(page) | {"how": "shift"} | more, headers=csrf(client))
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def waiting(client: httpx.Client) -> Element:
    return read(client.get("/quarantine").text).one(id="waiting")


@pytest.mark.parametrize(
    ("language", "would", "was"),
    [("en", "3 would be released.", "3 were released."), ("zh", "将放行 3 条。", "已放行 3 条。")],
)
def test_an_operator_looks_then_releases(hall: Street, language: str, would: str, was: str) -> None:
    client = sign_in(hall, Role.OPERATOR, language)
    page = waiting(client)
    assert fields(page)["shift"] == "-8h"
    seen = send(client, page, act="preview")
    assert would in seen.text
    assert values(hall) == []
    done = send(client, seen, act="release")
    assert was in done.text
    assert values(hall) == [(True, 20.0), (True, 21.0), (True, 22.0)]
    assert done.all("form") == []
    assert "Ms Li" in read(client.get("/quarantine").text).one(id="set-aside").text


def test_what_cannot_be_read_and_what_stays_is_said(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    page = waiting(client)
    wrong = send(client, page, act="release", shift="soon")
    assert "such as 8h" in wrong.text
    assert fields(wrong)["shift"] == "soon"
    stays = send(client, page, act="preview", shift="1h")
    assert "0 would be released." in stays.text
    assert "3 stay:" in stays.text
    assert "ten minutes ahead" in stays.text
    assert "Nothing can be released" in send(client, page, act="release", shift="1h").text
    assert values(hall) == []


def test_as_received_needs_no_shift(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    send(client, waiting(client), act="release", how="received", shift="")
    assert len(values(hall)) == 3


def test_a_viewer_sees_and_does_not_release(hall: Street) -> None:
    client = sign_in(hall, Role.VIEWER)
    page = waiting(client)
    assert "air-1" in page.text
    assert page.all("form") == []
    answer = client.post("/quarantine/release", data={"device": "air-1", "shift": "-8h"}, headers=csrf(client))
    assert answer.status_code == 403
    assert values(hall) == []


def test_what_the_hub_knows_by_now_is_released_as_it_is(hall: Street) -> None:
    hall.enrol("hall", {"air-1": "no-such-profile"}, session=2)
    hall.readings("hall", "air-1", times=[hall.now() - 1_000], temp=[25.0])
    client = sign_in(hall, Role.OPERATOR)

    def unknown() -> Element:
        return read(client.get("/quarantine").text).one(id="unknown")

    assert "Unknown profile" in unknown().text
    assert "the hub has no such profile" in unknown().text
    assert unknown().all("form") == []

    hall.enrol("hall", {"air-1": "air-station"}, session=3)
    form = fields(unknown())
    for act, told in (("preview", "1 would be released."), ("release", "1 was released.")):
        answer = client.post("/quarantine/release-known", data=form | {"act": act}, headers=csrf(client))
        assert told in read(answer.text).text
    assert values(hall) == [(True, 25.0)]
    assert "3 records." in waiting(client).text, "what waits for its times still does"
    viewer = sign_in(hall, Role.VIEWER)
    assert viewer.post("/quarantine/release-known", data=form, headers=csrf(viewer)).status_code == 403


def test_the_overview_leads_there(hall: Street) -> None:
    client = sign_in(hall, Role.VIEWER)
    assert [link.text for link in read(client.get("/").text).all("a", href="/quarantine")] == [
        "3 messages in quarantine"
    ]
