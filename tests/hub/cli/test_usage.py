"""Help, wrong usage, and hubs that are not there: clear words, the right exit code, never a traceback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.pages import Command, commands
from hub.cli.program import Program
from lamplighter_hub import cli
from services.ports import free_port


@pytest.fixture
def lamplighter(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def other_server() -> Iterator[str]:
    """A web server that is no hub."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.words)
def test_every_command_has_help(command: Command) -> None:
    said = CliRunner().invoke(cli.build(), [*command.words.split(), "--help"])
    assert said.exit_code == 0
    assert "Usage:" in said.output


def test_the_version_is_told(lamplighter: Program) -> None:
    said = lamplighter("--version")
    assert (said.code, said.out) == (0, f"lamplighter {version('lamplighter-hub')}\n")


def test_without_a_command_the_help_is_shown(lamplighter: Program) -> None:
    assert "up" in lamplighter().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("query",),
        ("nonsense",),
        ("devices", "--nonsense"),
        ("query", "air-1", "pm25", "--from", "yesterday-ish"),
        ("command", "send", "kiosk-1", "print", "text"),
        ("command", "send", "kiosk-1", "print", "--args", "[1]"),
        ("enroll-code", "--uses", "0"),
        ("events", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(lamplighter: Program, arguments: tuple[str, ...]) -> None:
    (lamplighter.folder / "data").mkdir()
    (lamplighter.folder / "data" / "cli.json").write_text('{"url": "http://127.0.0.1:9", "token": ""}')
    said = lamplighter(*arguments)
    assert said.code == 2, said
    assert not said.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("up", "--port", "99999"), "--port"),
        (("up", "--mqtt-url", "http://x"), "--mqtt-url"),
        (("up", "--log-level", "loud"), "--log-level"),
        (("up", "--series-url", "influx://x"), "--series-url"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_its_option(
    lamplighter: Program, arguments: tuple[str, ...], named: str
) -> None:
    said = lamplighter(*arguments)
    assert said.code == 1
    assert len(said.error.splitlines()) == 1
    assert named in said.error


def test_a_hub_that_is_not_there_is_one_line(lamplighter: Program) -> None:
    said = lamplighter("devices", "--url", f"http://127.0.0.1:{free_port()}", "--token", "x")
    assert said.code == 1
    assert said.error.startswith("lamplighter: no hub answers at http://127.0.0.1:")
    assert "lamplighter up" in said.error
    assert len(said.error.splitlines()) == 1


def test_a_server_that_is_no_hub_is_one_line(lamplighter: Program, other_server: str) -> None:
    said = lamplighter("status", "--url", other_server, "--token", "x")
    assert said.code == 1
    assert "is not a Lamplighter hub" in said.error


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://[", "http://", "http://x:y"])
def test_an_address_that_is_none_is_one_line(lamplighter: Program, url: str) -> None:
    said = lamplighter("status", "--url", url, "--token", "x")
    assert said.code == 1
    assert len(said.error.splitlines()) == 1
    assert "--url" in said.error


def test_nothing_to_change_is_one_line(lamplighter: Program) -> None:
    said = lamplighter("config", "set", "air-1", "--url", "http://127.0.0.1:9", "--token", "x")
    assert (said.code, len(said.error.splitlines())) == (1, 1)


def test_mosquitto_configuration_is_written_without_a_hub(lamplighter: Program) -> None:
    made = lamplighter("mosquitto-conf", "mq", "--port", "1999", "--json").json
    assert Path(made["configuration"]).is_file()
    assert made["url"].endswith("@127.0.0.1:1999")
    passwords = lamplighter.folder / "mq" / "passwords"
    passwords.write_text(passwords.read_text() + "pole-1:$7$101$x$y\n")
    again = lamplighter("mosquitto-conf", "mq", "--port", "1999", "--json").json
    assert again == made
    assert "pole-1:" in passwords.read_text()
