"""The command line: mistakes are one line that names file, key and fix; a start is quick and light."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lamplighter_agent.cli import main
from lamplighter_agent.state import State

GOOD = """
[[devices]]
id = "air-1"
profile = "air-station"
driver = "modbus"
[devices.settings]
host = "127.0.0.1"
"""


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("data = ", "", "is not TOML"),
        ("data = " + "[" * 5_000, "", "nested too deeply"),
        ("dta = 'x'", "dta", "is unknown; correct its spelling or remove it"),
        ("[outbox]\nmax_bytes = 5", "outbox.max_bytes", "must be at least 65536"),
        ("profiles = ['nowhere']", "profiles", "is not a folder"),
        (GOOD.replace('"air-station"', '"air"'), "devices.air-1.profile", "known profiles: air-station"),
        (GOOD.replace('"modbus"', '"modbs"'), "devices.air-1.driver", "installed drivers: modbus, simulated, tail"),
        (GOOD.replace("host", "hst"), "devices.air-1.settings.hst", "is unknown"),
        (GOOD.replace('host = "127.0.0.1"', "unit = 1"), "devices.air-1.settings", 'give either host = "ADDRESS"'),
        (GOOD.replace('host = "127.0.0.1"', 'host = "h"\nunit = 999'), "devices.air-1.settings.unit", "255"),
        (GOOD.replace('profile = "air-station"\n', ""), "devices.air-1.profile", "is missing; add it"),
        (GOOD + GOOD, "devices.air-1.id", "is used twice"),
        (GOOD.replace("air-1", "Air 1"), "devices.Air 1.id", "is no id"),
        (GOOD.replace("modbus", "tail").replace('host = "127.0.0.1"', 'path = "x"'), "devices.air-1", "no [tail] part"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, key: str, fix: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    assert main(["check", "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"lamplighter-agent: {file}: {key}")
    assert fix in said


def test_every_mistake_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('dta = "x"\n[link]\nkind = "pigeon"\n' + GOOD.replace("air-1", "Air 1"))
    assert main(["check", "--config", str(file)]) == 2
    assert sorted(capsys.readouterr().err.splitlines()) == [
        f"lamplighter-agent: {file}: devices.Air 1.id: is no id: 1 to 64 of a-z, 0-9 and -, a letter or digit first",
        f"lamplighter-agent: {file}: dta: is unknown; correct its spelling or remove it",
        f"lamplighter-agent: {file}: link.kind: is none of 'ethernet' or 'cellular'",
    ]


def test_a_profile_of_ones_own_that_is_wrong_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "x.toml").write_text('id = "x"\n')
    (tmp_path / "agent.toml").write_text('profiles = ["own"]')
    assert main(["check", "--config", str(tmp_path / "agent.toml")]) == 2
    assert "x.toml" in capsys.readouterr().err


def test_check_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text(GOOD)
    assert main(["check", "--config", str(tmp_path / "agent.toml")]) == 0
    assert "air-1: profile air-station, driver modbus, every 10 s" in capsys.readouterr().out
    assert not (tmp_path / "state").exists(), "checking changes nothing"


def test_run_without_identity_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.toml").write_text(GOOD)
    assert main(["run", "--config", str(tmp_path / "agent.toml")]) == 2
    assert "lamplighter-agent enroll" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["enroll", "run", "check", "status"])
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert "--config" in capsys.readouterr().out


MQTT = {"url": "mqtt://127.0.0.1:1883", "username": "a-1", "password": "s"}
IDENTITY = {"agent": "a-1", "mqtt": MQTT, "hub_keys": [{"kid": "k", "public_key": "A" * 43}], "heard_within_s": 20}
ODD: dict[str, Any] = {
    "SHORT": {"agent": "a-1"},
    "LIST": [IDENTITY],
    "PORT": IDENTITY | {"mqtt": MQTT | {"url": "mqtt://hub:70000"}},
    "NAME": IDENTITY | {"agent": "../a"},
    "PROMISE": IDENTITY | {"heard_within_s": 0},
    "KEY": IDENTITY | {"hub_keys": [{"kid": "k", "public_key": "A"}]},
}
"""Answers that are no identity, by the code that they answer."""


@pytest.fixture
def hub() -> Iterator[tuple[str, list[Any]]]:
    """An address that enrols the code GOOD and nobody else."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body))
            if body["code"] == "GOOD":
                self._answer(200, IDENTITY)
            elif body["code"] == "BAD":
                self._answer(403, {"title": "Refused", "detail": "the code is used up"})
            elif body["code"] == "COLOURED":
                self._answer(403, {"title": "Refused", "detail": "the code\nis \x1b[31mused up"})
            elif body["code"] == "DEEP":
                self._say(200, b"[" * 5_000)
            else:
                self._answer(200, ODD[body["code"]])

        def _answer(self, status: int, body: Any) -> None:
            self._say(status, json.dumps(body).encode())

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_enrolment_stores_an_identity_once(
    tmp_path: Path, hub: tuple[str, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(tmp_path / "agent.toml")]
    assert main(["enroll", hub[0] + "/", "GOOD", *config]) == 0
    assert hub[1][0] == ("/api/v1/enrol", {"code": "GOOD", "agent_version": "0.1.0"})
    assert State(tmp_path / "state").identity().heard_within_s == 20
    assert main(["check", *config]) == 0, "the first agent.toml is in order"
    assert main(["enroll", hub[0], "GOOD", *config]) == 2
    assert "--again" in capsys.readouterr().err
    (tmp_path / "state" / "outbox.sqlite").write_text("kept")
    assert main(["enroll", hub[0], "GOOD", "--again", *config]) == 0
    assert (tmp_path / "state" / "outbox.sqlite").exists(), "the same agent keeps its outbox"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("BAD", "the code is used up"),
        ("COLOURED", r"the code\nis \x1b[31mused up"),
        ("DEEP", "is this a Lamplighter hub?"),
        *((code, "not an identity") for code in ODD),
    ],
)
def test_a_refused_enrolment_says_why_in_one_line(
    tmp_path: Path, hub: tuple[str, list[Any]], capsys: pytest.CaptureFixture[str], code: str, text: str
) -> None:
    assert main(["enroll", hub[0], code, "--config", str(tmp_path / "agent.toml")]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.rstrip("\n").isprintable()
    assert not State(tmp_path / "state").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://hub", "hub:8080"])
def test_an_address_without_hub_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["enroll", url, "X", "--config", str(tmp_path / "agent.toml")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


HEAVY = ("asyncio", "sqlite3", "pydantic", "aiomqtt", "paho", "tinydb", "cryptography", "pymodbus", "ssl", "serial")


def loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_the_command_line_alone_loads_nothing_heavy() -> None:
    found = loaded("import lamplighter_agent.cli as cli\ncli._parser()")
    assert not found & set(HEAVY)


def test_the_agent_loads_drivers_keys_and_broker_only_when_used() -> None:
    found = loaded("import lamplighter_agent.app, lamplighter_agent.drivers.modbus")
    assert not found & {"aiomqtt", "paho", "cryptography", "pymodbus", "serial"}


def test_the_agent_carries_nothing_of_the_hub() -> None:
    found = loaded("import lamplighter_agent.app, lamplighter_agent.link, aiomqtt, lamplighter_agent.drivers.modbus")
    assert not found & {"fastapi", "duckdb", "sqlalchemy", "nats", "numpy", "httpx", "lamplighter_hub"}
