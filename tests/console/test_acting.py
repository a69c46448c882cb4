"""Configuration and commands through the pages: refused by field, sent, followed to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.conftest import csrf, sign_in
from console.html import Element, read
from console.rig import Street, street
from lamplighter_hub.access.roles import Role


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Street]:
    """A kiosk and an air station, online."""
    with street(tmp_path) as made:
        made.enrol("hall", {"kiosk-1": "kiosk", "air-1": "air-station"})
        yield made


def send(client: httpx.Client, path: str, **form: str) -> httpx.Response:
    fields = {name.replace("__", "."): value for name, value in form.items()}
    return client.post(path, data=fields, headers=csrf(client))


def save(client: httpx.Client, device: str = "air-1", **fields: str) -> httpx.Response:
    form = {f"field__{name}": value for name, value in fields.items()}
    return send(client, f"/devices/{device}/configuration", **form)


def _data(said: str) -> dict[str, Any]:
    return {"pages": 2} if said == "succeeded" else {}


def state(client: httpx.Client) -> Element:
    return read(client.get("/devices/air-1/configuration/state").text).one(id="configuration-state")


def test_every_wrong_field_is_named_in_the_language(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR, "zh")
    answer = save(client, interval_s="0.1", pm25_slope="steep", pm25_alarm="12.5")
    assert answer.status_code == 422
    page = read(answer.text)
    wrong = {field.get("name"): field.get("value") for field in page.all("input", aria_invalid="true")}
    assert wrong == {"field.interval_s": "0.1", "field.pm25_slope": "steep", "field.pm25_alarm": "12.5"}
    assert "取值范围为 0.5 \N{EN DASH} 3,600 s。" in page.one(id="field-interval_s-error").text
    assert "请输入数字。" in page.one(id="field-pm25_slope-error").text
    assert "请输入整数。" in page.one(id="field-pm25_alarm-error").text
    assert hall.hub.configuration.view("air-1").desired.version == 0


def test_a_saved_configuration_is_followed_to_the_devices_word(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    assert state(client).get("data-state") == "defaults"
    answer = save(client, interval_s="5", pm25_slope="", pm25_alarm="80")
    assert "Saved as version 1" in read(answer.text).one("p", role="status").text
    assert state(client).get("data-state") == "pending"
    assert hall.hub.configuration.view("air-1").layer == {"interval_s": 5.0, "pm25_alarm": 80}
    hall.reported("hall", "air-1")
    assert state(client).get("data-state") == "applied"
    patch = read(client.get("/devices/air-1/configuration/state").text).one(id="field-pm25_alarm-reported")
    assert (patch.get("hx-swap-oob"), patch.text) == ("true", "80")
    history = read(client.get("/devices/air-1/configuration").text).one(id="configuration-history").text
    assert "Applied" in history
    assert "Ms Li" in history
    assert "session" not in history
    assert "Nothing was changed." in save(client, interval_s="5", pm25_alarm="80").text


def test_a_refusal_by_the_device_is_shown_with_its_reason(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    save(client, interval_s="5")
    errors = [{"field": "interval_s", "detail": "the meter takes 10 s or more"}]
    hall.reported("hall", "air-1", "rejected", "not possible here", errors)
    shown = state(client)
    assert shown.get("data-state") == "rejected"
    assert "not possible here" in shown.text
    assert "the meter takes 10 s or more" in shown.text
    assert "differs" in read(client.get("/devices/air-1/configuration").text).one(id="field-interval_s-reported").text


def test_a_command_is_sent_once_and_followed_to_its_end(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    form = read(client.get("/devices/kiosk-1/commands/new/print_test_page").text)
    key = form.one("input", name="idempotency_key").get("value")
    answers = [
        send(
            client,
            "/devices/kiosk-1/commands/new/print_test_page",
            arg__copies="2",
            expires_in_s="60",
            idempotency_key=key,
        )
        for _ in range(2)
    ]
    ids = [read(answer.text).one(id="command").get("data-command") for answer in answers]
    assert ids[0] == ids[1]
    assert len(hall.hub.commands.page("kiosk-1", None, None, "", 10)) == 1
    seen = []
    for said in ("received", "running", "succeeded"):
        hall.result("hall", "kiosk-1", ids[0], said, **_data(said))
        page = read(client.get(f"/devices/kiosk-1/commands/{ids[0]}", headers={"HX-Request": "true"}).text)
        seen.append(page.one(id="command").get("data-command-state"))
    assert seen == ["received", "running", "succeeded"]
    steps = page.one("ol", class_="progress").all("li")
    assert [step.get("class") for step in steps] == ["done", "done", "done", "done", "end-good"]
    assert len(page.one("ol", class_="progress").all("time")) == 5
    assert "pages 2" in page.text
    assert not page.all("button", hx_post=f"/devices/kiosk-1/commands/{ids[0]}/cancel")


def test_a_dangerous_command_wants_reason_and_confirmation(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    path = "/devices/kiosk-1/commands/new/reboot"
    form = read(client.get(path).text)
    assert form.one("button", class_="danger").text == "Send the command"
    assert "dangerous" in form.text
    unconfirmed = send(client, path, arg__grace_s="5", reason="frozen", confirmation="kiosk-2")
    assert unconfirmed.status_code == 422
    assert "not the device's id" in read(unconfirmed.text).one(id="confirmation-error").text
    unreasoned = send(client, path, arg__grace_s="5", confirmation="kiosk-1")
    assert "required" in read(unreasoned.text).one(id="reason-error").text
    assert read(unreasoned.text).one("input", name="arg.grace_s").get("value") == "5"
    assert send(client, path, arg__grace_s="5", reason="frozen", confirmation="kiosk-1").status_code == 200
    row = hall.hub.commands.page("kiosk-1", None, None, "", 10)[0]
    assert (row.purpose, row.args, row.hazard) == ("frozen", {"grace_s": 5}, "dangerous")


def test_a_wrong_argument_is_named(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR, "zh")
    answer = send(client, "/devices/kiosk-1/commands/new/print_test_page", arg__copies="9")
    assert answer.status_code == 422
    assert "取值范围为 1 \N{EN DASH} 3" in read(answer.text).one(id="arg-copies-error").text
    missing = send(client, "/devices/air-1/commands/new/set_heater")
    assert "此项必填。" in read(missing.text).one(id="arg-on-error").text


def test_an_offline_device_is_said_before_and_after(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    hall.leave("hall", "connection_lost")
    assert "not online" in read(client.get("/devices/kiosk-1/commands/new/lock").text).one(id="command").text
    answer = read(send(client, "/devices/kiosk-1/commands/new/lock", expires_in_s="10").text)
    command = answer.one(id="command").get("data-command")
    assert answer.one(id="command").get("data-command-state") == "queued"
    assert "Waiting for the device" in answer.text
    cancelled = read(send(client, f"/devices/kiosk-1/commands/{command}/cancel").text)
    assert cancelled.one(id="command").get("data-command-state") == "cancelled"
    assert "not reached" in cancelled.text


def test_a_command_belongs_to_its_device(hall: Street) -> None:
    client = sign_in(hall, Role.OPERATOR)
    command = read(send(client, "/devices/kiosk-1/commands/new/lock").text).one(id="command").get("data-command")
    assert client.get(f"/devices/air-1/commands/{command}").status_code == 404
    assert send(client, f"/devices/air-1/commands/{command}/cancel").status_code == 404


@pytest.mark.parametrize("expiry", ["", "abc", "99999999", "-5", "0", "١٢"])
def test_an_odd_expiry_never_breaks_the_page(hall: Street, expiry: str) -> None:
    client = sign_in(hall, Role.OPERATOR)
    answer = send(client, "/devices/kiosk-1/commands/new/lock", expires_in_s=expiry)
    assert answer.status_code in {200, 422}
    read(answer.text)
