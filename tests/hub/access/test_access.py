from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest

from hub.registry.rig import calling, rig, serving
from lamplighter_hub.access.roles import Role
from lamplighter_hub.errors import TooMany, Unauthenticated
from lamplighter_hub.keys import HubKeys


def code_of(link: str | None) -> str:
    assert link
    return link.split("code=")[1]


def test_the_first_link_opens_the_console_once(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        access = made.hub.access
        unused = access.first_link("http://hub")
        link = access.first_link("http://hub")
        assert link
        assert link.startswith("http://hub/sign-in?code=")
        opened = access.sign_in(code_of(link), "127.0.0.1")
        assert opened.who.role is Role.ADMINISTRATOR
        assert access.by_session(opened.cookie) == opened.who
        with pytest.raises(Unauthenticated):
            access.sign_in(code_of(link), "127.0.0.1")
        assert access.first_link("http://hub") is None
        made.clock.forward(3601)
        with pytest.raises(Unauthenticated):
            access.sign_in(code_of(unused), "127.0.0.1")


def test_sessions_end_when_idle_when_old_and_on_sign_out(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        access = made.hub.access

        def sign_in() -> str:
            return access.sign_in(code_of(access.new_link("x", Role.VIEWER, "test", "")[0]), "").cookie

        idle, old, left = sign_in(), sign_in(), sign_in()
        access.sign_out(left)
        assert access.by_session(left) is None
        for _ in range(14):
            made.clock.forward(11.9 * 3600)
            assert access.by_session(old) is not None
        assert access.by_session(idle) is None
        made.clock.forward(11.9 * 3600)
        assert access.by_session(old) is None


def test_guessing_a_link_is_slowed_down(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        for _ in range(10):
            with pytest.raises(Unauthenticated):
                made.hub.access.sign_in("guess", "10.0.0.1")
        with pytest.raises(TooMany):
            made.hub.access.sign_in("guess", "10.0.0.1")


def test_the_command_line_gets_in_through_a_private_file(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        path = tmp_path / "cli.json"
        made.hub.access.local_access(tmp_path, "http://127.0.0.1:1")
        first = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert made.hub.access.by_token(first["token"], "").role is Role.ADMINISTRATOR
        made.hub.access.local_access(tmp_path, "http://127.0.0.1:2")
        assert json.loads(path.read_text()) == {"url": "http://127.0.0.1:2", "token": first["token"]}
        path.write_text("{broken")
        made.hub.access.local_access(tmp_path, "http://127.0.0.1:3")
        with pytest.raises(Unauthenticated):
            made.hub.access.by_token(first["token"], "")
        stored = b"".join(file.read_bytes() for file in tmp_path.glob("registry.sqlite*"))
        assert json.loads(path.read_text())["token"].encode() not in stored


def test_tokens_over_http(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.clock.forward(1)
        token = client.post("/api/v1/tokens", json={"name": "wall", "role": "viewer", "expires_in_s": 60}).json()
        assert token["token"].startswith("lamp_")
        wall = {"Authorization": f"Bearer {token['token']}"}
        assert client.get("/api/v1/devices", headers=wall).status_code == 200
        low = client.post("/api/v1/tokens", json={"name": "mine"}, headers=wall)
        assert (low.status_code, low.json()["type"]) == (403, "urn:lamplighter:problem:role_too_low")
        listed = client.get("/api/v1/tokens").json()["items"]
        assert [item["name"] for item in listed] == ["test administrator", "wall"]
        assert all("token" not in item for item in listed)
        made.clock.forward(61)
        gone = client.get("/api/v1/devices", headers=wall)
        assert (gone.status_code, gone.headers["www-authenticate"]) == (401, 'Bearer realm="lamplighter"')
        assert client.delete(f"/api/v1/tokens/{listed[0]['id']}").status_code == 204
        assert client.get("/api/v1/devices").status_code == 401
        assert made.hub.refusals.rows()[0].why == "wrong_token"


def test_a_browser_session_over_http(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, serving(made.hub) as url, httpx.Client(base_url=url) as browser:
        wrong = browser.post("/api/v1/sessions", json={"code": "wrong"})
        assert (wrong.status_code, wrong.json()["type"]) == (401, "urn:lamplighter:problem:wrong_sign_in_link")
        answer = browser.post("/api/v1/sessions", json={"code": code_of(made.hub.access.first_link(url))})
        assert answer.status_code == 201
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        csrf = answer.json()["csrf"]
        assert browser.get("/api/v1/sessions/current").json()["csrf"] == csrf
        body = {"name": "x"}
        for headers in (
            {},
            {"X-CSRF-Token": "wrong"},
            {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"},
        ):
            assert browser.post("/api/v1/tokens", json=body, headers=headers).status_code == 403, headers
        good = {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-origin"}
        assert browser.post("/api/v1/tokens", json=body, headers=good).status_code == 201
        link = browser.post("/api/v1/sign-in-links", json={"name": "Ms Li", "role": "viewer"}, headers=good).json()
        assert link["url"].startswith(f"{url}/sign-in?code=")
        assert browser.delete("/api/v1/sessions/current", headers=good).status_code == 204
        assert browser.get("/api/v1/sessions/current").status_code == 401


def test_keys_are_private_made_once_and_rotated_with_an_overlap(tmp_path: Path) -> None:
    keys = HubKeys(tmp_path)
    keys.load()
    (first,) = keys.public()
    (path,) = (tmp_path / "keys").glob("*.pem")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = HubKeys(tmp_path)
    again.load()
    assert again.public() == [first]
    again.rotate()
    assert again.public()[1] == first
    again.rotate()
    assert first not in again.public()
    assert len(again.public()) == len(list((tmp_path / "keys").glob("*.pem"))) == 2
    reread = HubKeys(tmp_path)
    reread.load()
    assert reread.public() == again.public()
