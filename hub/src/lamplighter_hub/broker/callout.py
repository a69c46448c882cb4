"""Who may connect to nats-server and where it may publish: decided by the hub, one question a connection.

    MQTT CONNECT -> nats-server -> $SYS.REQ.USER.AUTH -> Callout -> decide() -> a signed user, or an error

The server asks with a JWT that holds what the client said; the answer is a JWT signed with the account key from the
generated configuration, and inside it a user whose permissions are those of the wire contract and nothing else (NATS
ADR-26). nats-py and nkeys are known here only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import nats.errors
import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy
from pydantic import BaseModel, Field, ValidationError

from lamplighter_hub.broker import configuration
from lamplighter_hub.broker.configuration import Secrets
from lamplighter_protocols import topics
from lamplighter_protocols.errors import BadTopic, WireError, bad_field

QUESTIONS: Final = "$SYS.REQ.USER.AUTH"
MESSAGES: Final = "$MQTT_msgs"
RETAINED: Final = "$MQTT_rmsgs"
REQUEST_TIMEOUT_S: Final = 5.0
PING_EVERY_S = 10
"""Three pings without an answer, and the server counts as dead."""
PENDING_QUESTIONS: Final = 65_536
MAX_NAME: Final = 128
"""What is kept of a name; an agent id has 64 characters at most, so that a cut one is none."""

_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectRequest:
    """What a client said of itself. `kind` is the protocol it speaks, `host` where it comes from."""

    username: str
    password: str = field(repr=False)
    client_id: str
    host: str
    kind: str = "mqtt"


Decide = Callable[[ConnectRequest], str | None]
"""Returns why somebody may not connect, or None when it may. Called in the broker's thread; must answer from memory."""
Refused = Callable[[ConnectRequest, str], None]
"""Told of every refusal, in the broker's thread."""


class BadQuestion(WireError):
    """What the server asks is no question; the text says which part of it."""

    code = "bad_question"


class _Server(BaseModel):
    id: str


class _Client(BaseModel):
    id: int
    host: str = ""
    type: str = ""
    mqtt_id: str = ""


class _Said(BaseModel):
    user: str = ""
    secret: str = Field("", alias="pass", repr=False)


class _Question(BaseModel):
    """What is used of a question (NATS ADR-26, authorization request claims)."""

    server_id: _Server
    user_nkey: str
    client_info: _Client
    connect_opts: _Said


class _Claims(BaseModel):
    nats: _Question


class Asked(Protocol):
    """A question as it came, and the way back."""

    data: bytes

    async def respond(self, data: bytes) -> None:
        """Send the answer."""


def new_secrets() -> Secrets:
    """Make the secrets of one hub process."""
    seed: bytes = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT)
    return Secrets(seed, nkeys.from_seed(seed).public_key.decode())


@dataclass
class Tally:
    """How the questions were answered since the hub started."""

    allowed: int = 0
    refused: int = 0


class Callout:
    """Answers one server's questions. Lives in an event loop; `open` once for each start of the server."""

    def __init__(self, secret: Secrets, decide: Decide, refused: Refused, tally: Tally) -> None:
        self._secret = secret
        self._keys = nkeys.from_seed(secret.issuer_seed)
        self._decide = decide
        self._refused = refused
        self._tally = tally
        self._system = Client()
        self._keeper = Client()
        self._questions = Client()
        self._sessions: dict[str, tuple[str, int]] = {}
        self.lost = asyncio.Event()
        """Set when a connection to the server ended."""

    async def open(self, url: str) -> None:
        """Connect to the server and answer from now on. Raises ConnectionError when the server does not take us."""
        try:
            await self._connect(self._system, url, configuration.SYSTEM_USER, self._secret.system)
            await self._connect(self._keeper, url, configuration.KEEPER_USER, self._secret.keeper)
            await self._connect(self._questions, url, configuration.CALLOUT_USER, self._secret.callout)
            await self._questions.subscribe(QUESTIONS, cb=self._hear, pending_msgs_limit=PENDING_QUESTIONS)
            await self._questions.flush()
        except (nats.errors.Error, OSError) as error:
            raise ConnectionError(f"nats-server does not take the hub's connection: {error}") from None

    async def close(self) -> None:
        """End the connections."""
        for connection in (self._questions, self._keeper, self._system):
            if connection.is_connected:
                await connection.close()

    async def kick(self, agent: str) -> bool:
        """Disconnect an agent; false when none of that name is here, or the server is silent."""
        known = self._sessions.pop(agent, None)
        if known is None:
            return False
        server, connection_id = known
        order = json.dumps({"cid": connection_id}).encode()
        try:
            answer = await self._system.request(f"$SYS.REQ.SERVER.{server}.KICK", order, timeout=REQUEST_TIMEOUT_S)
        except (nats.errors.Error, OSError) as error:
            _log.warning("broker: %s could not be disconnected: %s", agent, str(error) or type(error).__name__)
            return False
        return "error" not in json.loads(answer.data)

    async def bound_store(self, max_messages: int, max_retained: int) -> None:
        """Limit, in bytes, what agents can store.

        The server makes its streams at the first MQTT connection, without a limit: one agent could fill the store,
        and then no session could be opened any more, not even the hub's. Of retained messages the oldest goes; any
        other is refused, and so not confirmed, when there is no room.
        """
        await self._bound(MESSAGES, max_messages, DiscardPolicy.NEW)
        await self._bound(RETAINED, max_retained, DiscardPolicy.OLD)

    async def _bound(self, name: str, max_bytes: int, discard: DiscardPolicy) -> None:
        streams = self._keeper.jetstream()
        stream = (await streams.stream_info(name)).config
        if (stream.max_bytes, stream.discard) != (max_bytes, discard):
            stream.max_bytes, stream.discard = max_bytes, discard
            await streams.update_stream(stream)

    async def _connect(self, connection: Client, url: str, user: str, password: str) -> None:
        await connection.connect(
            url,
            user=user,
            password=password,
            name=user,
            allow_reconnect=False,
            connect_timeout=5,
            ping_interval=PING_EVERY_S,
            max_outstanding_pings=3,
            closed_cb=self._on_closed,
            error_cb=_on_error,
        )

    async def _on_closed(self) -> None:
        self.lost.set()

    async def _hear(self, message: Msg) -> None:
        try:
            await self.answer(message)
        except BadQuestion as error:
            _log.warning("broker: nats-server asks what is no question: %s", error)

    async def answer(self, message: Asked) -> None:
        """Answer one question. Raises BadQuestion; then there is nobody to answer."""
        question = _question(message.data)
        request = _request(question)
        server = question.server_id.id
        reason = self._reason(request)
        user = ""
        if reason is None:
            self._tally.allowed += 1
            self._sessions[request.username] = (server, question.client_info.id)
            user = self._signed(_user(request.username, question.user_nkey))
        else:
            self._tally.refused += 1
        content = {"type": "authorization_response", "version": 2, "jwt": user, "error": reason or ""}
        await message.respond(self._signed({"sub": question.user_nkey, "aud": server, "nats": content}).encode())
        if reason is not None:
            self._refused(request, reason)

    def _reason(self, request: ConnectRequest) -> str | None:
        if request.kind != "mqtt":
            return "not_mqtt"
        if request.client_id != request.username:
            return "foreign_client_id"
        try:
            topics.publish_filter(request.username)
        except BadTopic:
            return "unknown_agent"
        try:
            return self._decide(request)
        except Exception:  # noqa: BLE001 - supervision: a defect in one decision must answer that client, and the next
            _log.warning("broker: the decision about %s failed", request.username, exc_info=True)
            return "undecided"

    def _signed(self, claims: dict[str, Any]) -> str:
        claims |= {"iss": self._secret.issuer, "iat": int(time.time())}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        text = f"{_encoded(_HEADER)}.{_encoded(claims)}"
        return f"{text}.{_base64(self._keys.sign(text.encode()))}"


async def _on_error(error: Exception) -> None:
    # The end of the connection is told by `lost`, and expected when the server is stopped.
    _log.log(logging.DEBUG if isinstance(error, nats.errors.UnexpectedEOF) else logging.WARNING, "broker: %s", error)


def _user(agent: str, user_key: str) -> dict[str, Any]:
    """A user who may do what the wire contract allows this agent, at QoS 0 and 1 up and QoS 0 down."""
    content = {
        "type": "user",
        "version": 2,
        "pub": {"allow": list(topics.nats_subjects(topics.publish_filter(agent)))},
        "sub": {"allow": list(topics.nats_subjects(topics.agent_filter(agent)))},
        "subs": -1,
        "data": -1,
        "payload": -1,
    }
    return {"sub": user_key, "aud": configuration.ACCOUNT, "name": agent, "nats": content}


def _request(question: _Question) -> ConnectRequest:
    client, said = question.client_info, question.connect_opts
    return ConnectRequest(
        username=said.user[:MAX_NAME],
        password=said.secret,
        client_id=client.mqtt_id[:MAX_NAME],
        host=client.host,
        kind=client.type,
    )


def _question(jwt: bytes) -> _Question:
    """The body of a JWT. Only the server can publish where it comes from, so its signature proves nothing more."""
    try:
        body = jwt.split(b".")[1]
        return _Claims.model_validate_json(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))).nats
    except (IndexError, ValueError) as error:
        what = bad_field(error).field if isinstance(error, ValidationError) else "no JWT"
        raise BadQuestion(what or "no JSON") from None


def _encoded(document: dict[str, Any]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
