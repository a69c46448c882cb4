"""What an agent reads beside the documents of the contract: its broker, the hub's orders, an enrolment's answer, files.

Each meets the agent's own parts, joined as they are when it runs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import aiomqtt

from contract.test_vectors import NOW_MS
from fuzz.kinds import AsyncFeed, Target, running
from fuzz.parts import AGENT, DEVICE, parts
from lamplighter_agent import enroll
from lamplighter_agent.errors import AgentError
from lamplighter_agent.link import OutdatedSession
from lamplighter_agent.state import Entry, State
from lamplighter_hub.uplink.packets import publish
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.configuration import document_hash
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.profile import parse_profile
from lamplighter_protocols.topics import Address, Channel, build
from services.garbled import garbled, linked

ONE_LIFE: Final = 50
"""Inputs that an agent is told before another life takes over its files."""
CHANNELS: Final = {
    b"command": Channel.COMMAND,
    b"cancel": Channel.COMMAND,
    b"configuration": Channel.DESIRED,
    b"fetch": Channel.FETCH,
}
HANGS_S: Final = 5.0
PROFILE: Final = parse_profile("""
id = "printer"
device_class = "test"
title = { en = "Printer" }
[configuration.interval_s]
type = "number"
min = 0.05
max = 60
[configuration.language]
type = "string"
choices = ["en", "zh"]
[configuration.idle_timeout_s]
type = "integer"
min = 1
max = 600
[configuration.central_allowed]
type = "boolean"
[commands.print_test_page]
title = { en = "Print a test page" }
max_expiry_s = 60
[commands.print_test_page.args.copies]
type = "integer"
min = 1
max = 9
[commands.set_plan]
title = { en = "Set a plan" }
hazard = "caution"
max_lease_s = 900
max_expiry_s = 60
[commands.set_plan.args.plan]
type = "integer"
""")
IDENTITY: Final = {
    "agent": AGENT,
    "mqtt": {"url": "mqtt://127.0.0.1:1883", "username": AGENT, "password": "secret"},
    "hub_keys": [{"kid": "k1", "public_key": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")}],
    "heard_within_s": 30,
}
FILES: Final = {
    "identity": {**IDENTITY, "hub_url": "http://hub:8080"},
    "session": {"session": 7, "reserved": 16},
    "traffic": {"day": "2026-11-25", "up": 1, "down": 2},
    "journal": {"id": "01M85BZKKV0000000000000001", "device": DEVICE, "state": "running", "expires_at": 1},
    "configuration": {"device": DEVICE, "force": {"version": 1, "document": {"language": "zh"}}},
}


def agent_targets(folder: Path, down: tuple[bytes, ...], orders: tuple[bytes, ...]) -> Iterator[Target]:
    """Yield all of them; `folder` is for files, `down` are good messages for an agent, `orders` what the hub signs."""
    yield running("agent-broker", tuple(map(_published, down)), lambda: _broker(folder / "broker"), slow=50)
    yield running("agent-orders", orders, lambda: _orders(folder / "orders"), slow=20)
    answers = Answers(folder)
    good = (json.dumps(IDENTITY).encode(), b'{"title": "Gone", "detail": "the code is used up"}')
    yield Target("enrolment", good, answers.feed, 20, answers.open, answers.close)
    files = tuple(json.dumps({"_default": {"1": item}}).encode() for item in FILES.values())
    yield Target("agent-files", files, lambda payload: _read_files(folder / "files", payload), slow=20)


def _published(payload: bytes) -> bytes:
    """Return the packet that brings a message down."""
    topic = build(AGENT, Channel.COMMAND, DEVICE) if payload.count(b".") == 2 else build(AGENT, Channel.RECEIPT)
    return publish(topic, payload)


@asynccontextmanager
async def _broker(folder: Path) -> AsyncIterator[AsyncFeed]:
    """Sessions whose broker says this behind the answer to the birth, and hangs up."""
    async with garbled() as broker, linked(folder / "link", broker.port) as link, parts(folder, PROFILE) as own:
        link.control = own.control

        async def feed(payload: bytes) -> None:
            broker.says, left, bad = payload, broker.left, link.bad_messages + own.refused
            async with asyncio.timeout(HANGS_S):
                try:
                    await link._one_session()
                except* (aiomqtt.MqttError, OSError, OutdatedSession):
                    link._answered.clear()
                await broker.gone(left + 1)
            await own.settle()
            await own.hand_over()
            if link.bad_messages + own.refused > bad:
                raise BadField("it was not taken")

        yield feed


@asynccontextmanager
async def _orders(folder: Path) -> AsyncIterator[AsyncFeed]:
    """What is signed as it should be, whatever it says. Another life goes on with the same files now and then."""
    async with AsyncExitStack() as stack:
        told = 0
        life = await stack.enter_async_context(AsyncExitStack())
        own = await life.enter_async_context(parts(folder, PROFILE))

        async def feed(payload: bytes) -> None:
            nonlocal told, own
            told += 1
            if told % ONE_LIFE == 0:
                await life.aclose()
                if told % (3 * ONE_LIFE) == 0:
                    shutil.rmtree(folder)
                own = await life.enter_async_context(parts(folder, PROFILE))
            refused = own.refused
            await own.control.receive(*_signed(_addressed(payload)))
            await own.settle()
            await own.hand_over()
            if own.refused > refused:
                raise BadField("it was refused")

        yield feed


def _addressed(body: bytes) -> bytes:
    """Return a document as one for this agent and this moment, so that it is not for its address that it is refused.

    Every other one gets the hash of its content, too.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(document, dict):
        return body
    document |= {"agent": AGENT, "issued_at": NOW_MS}
    document |= {"device": DEVICE} if "device" in document else {}
    document |= {"expires_at": NOW_MS + 30_000} if "expires_at" in document else {}
    if isinstance(document.get("document"), dict) and zlib.crc32(body) % 2:
        with suppress(ValueError):  # of half a character there is no hash
            document["hash"] = document_hash(document["document"])
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _signed(body: bytes) -> tuple[Address, bytes]:
    """Return a message that leads where its content says, with a signature that is taken for good."""
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"EdDSA","kid":"k1"}', body, bytes(64)))
    kind = next((kind for kind in CHANNELS if b'"' + kind + b'"' in body), b"")
    channel = CHANNELS.get(kind, Channel.COMMAND)
    return Address(AGENT, channel, DEVICE if channel.has_device else ""), b".".join(parts)


class Answers:
    """A hub that answers every enrolment with these bytes: well, or with a refusal when they speak of one."""

    _server: HTTPServer

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._says = b""

    def feed(self, payload: bytes) -> None:
        """Enrol once."""
        self._says = payload
        identity = enroll._ask(f"http://127.0.0.1:{self._server.server_port}", "ABCD-EFGH", "", "")
        State(self._folder / "enrolled").save_identity(identity)
        assert State(self._folder / "enrolled").identity() == identity

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()

    def open(self) -> None:
        """Listen."""
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(410 if b'"title"' in answers._says else 201)
                self.send_header("Content-Length", str(len(answers._says)))
                self.end_headers()
                self.wfile.write(answers._says)

            def log_message(self, *_: Any) -> None:
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def _read_files(folder: Path, payload: bytes) -> None:
    """Read one and the same content as each of the agent's files, and write each that could be read."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        (folder / f"{name}.json").write_bytes(payload)
    state, refused = State(folder), []
    for use in (_identity, _session, _traffic, _journal, _configuration):
        try:
            use(state)
        except AgentError as error:
            refused.append(error)
    if len(refused) == len(FILES):
        raise refused[0]


def _identity(state: State) -> None:
    state.save_identity(state.identity())


def _session(state: State) -> None:
    assert state.next_session(state.session()) > 0


def _traffic(state: State) -> None:
    state.save_traffic(state.traffic())


def _journal(state: State) -> None:
    entry = Entry(id="01M85BZKKV0000000000000002", device=DEVICE, state=CommandState.RUNNING, expires_at=1)
    state.write_journal(entry, list(state.journal()))


def _configuration(state: State) -> None:
    for configured in state.configurations().values():
        state.save_configuration(configured)
