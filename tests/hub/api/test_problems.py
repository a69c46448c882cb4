from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.registry.rig import calling, rig
from lamplighter_hub.access.guard import HEADERS, MAX_BODY
from lamplighter_hub.access.roles import Role
from lamplighter_hub.errors import Problem
from lamplighter_hub.http_server import listen


def problem(answer: httpx.Response, status: int, code: str) -> Problem:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found = Problem.model_validate_json(answer.content)
    assert (found.status, found.code) == (status, code)
    assert found.request_id == answer.headers["x-request-id"]
    assert "\n" not in found.detail
    return found


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with rig(tmp_path_factory.mktemp("data")) as made, calling(made.hub, made.token(Role.ADMINISTRATOR)) as client:
        made.street("lamp-1")
        yield client


def test_every_kind_of_error_is_a_problem(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        problem(client.get("/nowhere"), 404, "not_found")
        problem(client.get("/api/v1/nowhere"), 404, "not_found")
        wrong_method = client.patch("/api/v1/devices")
        assert "PATCH" in problem(wrong_method, 405, "method_not_allowed").detail
        assert wrong_method.headers["allow"] == "GET"
        limit = problem(client.get("/api/v1/devices", params={"limit": 0}), 422, "invalid")
        assert limit.errors[0].field == "limit"
        problem(client.get("/api/v1/devices", params={"cursor": "%%"}), 422, "invalid")
        problem(client.get("/api/v1/devices", params={"cursor": "WzFd"}), 422, "invalid")
        json = {"Content-Type": "application/json"}
        problem(client.post("/api/v1/tokens", content=b"{", headers=json), 422, "invalid")
        assert problem(client.post("/api/v1/tokens", content=b"{,", headers=json), 422, "invalid").detail.startswith(
            "body is not JSON"
        )
        problem(client.post("/api/v1/tokens", content=b"\x80{}", headers=json), 400, "bad_request")
        problem(client.post("/api/v1/tokens", content=b"[" * 100_000, headers=json), 400, "bad_request")
        problem(client.post("/api/v1/tokens"), 422, "invalid")
        form = client.post("/api/v1/tokens", content=b"name=x")
        assert "Content-Type: application/json" in problem(form, 415, "unsupported_media_type").detail
        nested = problem(client.post("/api/v1/agents", json={"agents": [{"id": "a"}, {"id": "B!"}]}), 422, "invalid")
        assert nested.errors[0].field == "agents.1.id"
        problem(httpx.get(client.base_url.join("/api/v1/devices")), 401, "unauthenticated")
        problem(client.get("/api/v1/devices", headers={"Authorization": "Basic eDp5"}), 401, "unauthenticated")
        problem(client.get("/api/v1/devices", headers={"Authorization": "Bearer lamp_no"}), 401, "wrong_token")


@pytest.mark.parametrize(
    ("method", "path", "asked", "body", "said"),
    [
        ("GET", "/devices", {"limit": "0"}, None, "limit must be at least 1"),
        ("GET", "/devices", {"limit": "2.5"}, None, "limit is not an integer"),
        ("GET", "/devices", {"state": "asleep"}, None, "state is none of 'online', 'offline' or 'unknown'"),
        ("GET", "/devices/lamp-1/series", {}, None, "metric is required"),
        ("GET", "/devices/Lamp!/latest", {}, None, "device is no id: 1 to 64 of a-z, 0-9 and -"),
        ("GET", "/commands/first", {}, None, "command is no id such as the hub gives"),
        ("POST", "/tokens", {}, {"name": "", "role": "viewer"}, "name is too short: at least 1 characters"),
        ("POST", "/tokens", {}, {"name": 7, "role": "viewer"}, "name is not a text"),
        ("POST", "/tokens", {}, {"name": "a", "role": "king"}, "role is none of 'viewer', 'operator'"),
        ("POST", "/tokens", {}, [], "body is not a JSON object"),
    ],
)
def test_what_is_wrong_is_said_in_words_that_fit_its_field(
    street: httpx.Client, method: str, path: str, asked: dict[str, str], body: object, said: str
) -> None:
    answer = street.request(method, f"/api/v1{path}", params=asked, json=body)
    assert problem(answer, 422, "invalid").detail.startswith(said)


def test_a_mistake_of_ours_is_logged_and_not_shown(
    tmp_path: Path, registry_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        monkeypatch.setattr(made.hub.devices, "find", lambda _: 1 / 0)
        with caplog.at_level(logging.ERROR, "lamplighter_hub.api"):
            answer = client.get("/api/v1/devices/lamp-1")
        found = problem(answer, 500, "internal_error")
        assert "division" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert found.request_id in caplog.text
        assert "ZeroDivisionError" in caplog.text


def test_bodies_are_limited_whatever_they_claim(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        large = b'{"name": "' + b"x" * MAX_BODY + b'"}'
        json = {"Content-Type": "application/json"}
        problem(client.post("/api/v1/tokens", content=large, headers=json), 413, "too_large")
        chunks = iter([large[:1000]] * 1100)
        problem(client.post("/api/v1/tokens", content=chunks, headers=json), 413, "too_large")
        where = urlsplit(str(client.base_url))
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as raw:
            raw.sendall(b"POST /api/v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            raw.sendall(b"Content-Length: 99999999999999\r\n\r\n{")
            assert b" 413 " in raw.recv(100)


def test_headers_protect_browsers(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        for path in ("/api/v1/devices", "/healthz", "/nowhere"):
            answer = client.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        policy = HEADERS["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy


def test_openapi_describes_problems_examples_and_who_may(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub) as client:
        document = client.get("/api/v1/openapi.json").json()
        assert document["components"]["schemas"]["Problem"]["properties"]["errors"]["items"]["$ref"]
        assert "HTTPValidationError" not in document["components"]["schemas"]
        assert document["paths"]["/api/v1/enrol"]["post"]["security"] == []
        assert document["security"]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                where = f"{method} {path}"
                assert operation["description"], where
                assert "application/problem+json" in operation["responses"]["default"]["content"], where
        assert client.get("/docs").status_code == 404


def test_every_route_but_a_few_needs_a_token(tmp_path: Path, registry_url: str) -> None:
    opened = {("post", "/api/v1/enrol"), ("post", "/api/v1/sessions"), ("get", "/healthz"), ("get", "/metrics")}
    with rig(tmp_path, registry_url) as made, calling(made.hub) as client:
        document = client.get("/api/v1/openapi.json").json()
        for path, operations in document["paths"].items():
            for method in operations:
                if (method, path) not in opened:
                    filled = path.replace("{", "").replace("}", "")
                    answer = client.request(method, filled, json={})
                    assert answer.status_code in {401, 422}, (method, path)


def test_a_viewer_changes_nothing(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token(Role.VIEWER)) as client:
        made.street("lamp-1")
        ulid = "01M80T5JNV0000000000000000"
        for method, path, body in (
            ("POST", "/devices/lamp-1/commands", {"name": "switch", "args": {"on": True}}),
            ("PUT", "/devices/lamp-1/configuration", {"document": {}}),
            ("POST", f"/commands/{ulid}/cancel", None),
            ("POST", "/enrolment-codes", {}),
            ("GET", "/enrolment-codes", None),
            ("DELETE", f"/enrolment-codes/{ulid}", None),
            ("POST", "/agents", {"agents": [{"id": "x"}]}),
            ("DELETE", "/agents/agent-1", None),
            ("POST", "/tokens", {"name": "x"}),
            ("GET", "/tokens", None),
            ("DELETE", f"/tokens/{ulid}", None),
            ("POST", "/sign-in-links", {}),
        ):
            answer = client.request(method, f"/api/v1{path}", json=body)
            problem(answer, 403, "role_too_low")


def test_status_health_and_metrics(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made, calling(made.hub, made.token()) as client:
        made.street("lamp-1", "lamp-2")
        made.hub.facts["broker"] = lambda: {"kind": "none"}
        gone = {"for_room": 2, "for_room_bytes": 700}
        made.hub.facts["sealing"] = lambda: {"refusing": "full", "damaged": ["a.parquet"], "gone": gone}
        status = client.get("/api/v1/status").json()
        assert status["devices"] == {"online": 2, "offline": 0, "unknown": 0}
        assert status["parts"]["broker"] == {"kind": "none"}
        client.headers.pop("Authorization")
        assert client.get("/healthz").json() == {"status": "ok"}
        text = client.get("/metrics").text
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert samples["lamplighter_devices", "online"] == 2
        store = {name: samples[f"lamplighter_store_{name}",] for name in ("refusing", "damaged_files")}
        assert store == {"refusing": 1, "damaged_files": 1}
        assert samples["lamplighter_store_released_files_total",] == 2
        assert samples["lamplighter_store_released_bytes_total",] == 700
        assert client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 401


def test_small_answers_do_not_wait_for_more() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as _:
        accepted, _where = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
