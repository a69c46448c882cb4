"""The one-time link, the session, and the choice of language and theme."""

from __future__ import annotations

import httpx
import pytest

from console.conftest import csrf, sign_in
from console.html import read
from console.rig import Street
from lamplighter_hub.access.dependencies import COOKIE


@pytest.fixture
def stranger(empty_street: Street) -> httpx.Client:
    return empty_street.visit()


def test_looking_at_the_link_does_not_burn_it(empty_street: Street, stranger: httpx.Client) -> None:
    link = empty_street.link()
    for _ in range(3):
        page = read(stranger.get(link).text)
    code = page.one("input", name="code").get("value")
    answer = stranger.post("/sign-in", data={"code": code})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert stranger.get("/").status_code == 200
    assert empty_street.visit().post("/sign-in", data={"code": code}).status_code == 401


def test_a_used_link_says_how_to_get_another(empty_street: Street, stranger: httpx.Client) -> None:
    answer = stranger.post("/sign-in", data={"code": "never-was"}, headers={"Accept-Language": "zh-CN"})
    assert answer.status_code == 401
    assert "此链接无效" in read(answer.text).one("p", role="alert").text
    assert "lamplighter sign-in-link" in answer.text


def test_a_whole_link_may_be_pasted(empty_street: Street, stranger: httpx.Client) -> None:
    link = empty_street.link()
    page = read(stranger.get("/sign-in", params={"code": link}).text)
    assert page.one("input", name="code").get("value") == link.rsplit("=", 1)[-1]


def test_too_many_wrong_links_are_slowed_down(stranger: httpx.Client) -> None:
    statuses = [stranger.post("/sign-in", data={"code": f"wrong-{n}"}).status_code for n in range(40)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_signing_out_ends_the_session(empty_street: Street) -> None:
    client = sign_in(empty_street)
    kept = client.cookies[COOKIE]
    answer = client.post("/sign-out", headers=csrf(client))
    assert answer.headers["hx-redirect"] == "/sign-in"
    again = empty_street.visit(Cookie=f"{COOKIE}={kept}")
    assert again.get("/").status_code == 303


def test_nothing_changes_without_the_csrf_token(empty_street: Street) -> None:
    client = sign_in(empty_street)
    assert client.post("/sign-out").status_code == 403
    headers = csrf(client) | {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/sign-out", headers=headers).status_code == 403
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("header", "lang"),
    [("zh-CN,zh;q=0.9", "zh-CN"), ("en-GB", "en"), ("fr, zh;q=0.3", "zh-CN"), ("fr", "en"), (";q=x", "en")],
)
def test_the_browser_asks_for_a_language(stranger: httpx.Client, header: str, lang: str) -> None:
    page = read(stranger.get("/sign-in", headers={"Accept-Language": header}).text)
    assert page.one("html").get("lang") == lang


def test_a_choice_is_kept(stranger: httpx.Client) -> None:
    answer = stranger.post("/preferences", data={"language": "zh", "theme": "dark", "back": "/sign-in?code=x"})
    assert answer.headers["location"] == "/sign-in?code=x"
    page = read(stranger.get("/sign-in", headers={"Accept-Language": "en"}).text)
    assert (page.one("html").get("lang"), page.one("html").get("data-theme")) == ("zh-CN", "dark")


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "javascript:x"])
def test_a_choice_never_leads_elsewhere(stranger: httpx.Client, back: str) -> None:
    answer = stranger.post("/preferences", data={"theme": "neon", "back": back})
    assert answer.headers["location"] == "/"
    assert "set-cookie" not in answer.headers
