"""What comes down and acts: checked for signature, address and age first, then handed to those who do it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from pydantic_core import from_json

from lamplighter_agent.clock import Clock
from lamplighter_agent.commands import Commands
from lamplighter_agent.configuration import Configuration
from lamplighter_agent.refusals import Refusals
from lamplighter_protocols.commands import Cancel, Command, Fetch
from lamplighter_protocols.configuration import Desired
from lamplighter_protocols.errors import BadField, WireError, WrongAddress
from lamplighter_protocols.model import parse_json
from lamplighter_protocols.records import Receipt, Stream
from lamplighter_protocols.signing import Verify, open_signed
from lamplighter_protocols.topics import Address, Channel

FETCH_AGE_MS: Final = 10 * 60_000
_MODELS: Final[dict[tuple[Channel, str], type[Command | Cancel | Desired | Fetch]]] = {
    (Channel.COMMAND, "command"): Command,
    (Channel.COMMAND, "cancel"): Cancel,
    (Channel.DESIRED, "configuration"): Desired,
    (Channel.FETCH, "fetch"): Fetch,
}


class Replayed(WireError):
    """Well signed, but not new."""

    code = "replayed"


class Sender(Protocol):
    """Who can say things again: the link."""

    async def say_birth(self) -> None:
        """Say the birth again."""
        ...

    async def answer(self, outbox: str | None, stream: Stream, ranges: Sequence[tuple[int, int]]) -> None:
        """Send these numbers again, and declare dropped which of them are not held."""
        ...


class Control:
    """The agent's ear."""

    def __init__(
        self,
        agent: str,
        devices: Collection[str],
        verify: Verify,
        clock: Clock,
        commands: Commands,
        configuration: Configuration,
        refusals: Refusals,
        sender: Sender,
    ) -> None:
        self._agent = agent
        self._devices = devices
        self._verify = verify
        self._clock = clock
        self._commands = commands
        self._configuration = configuration
        self._refusals = refusals
        self._sender = sender
        self._last_fetch = 0

    async def receive(self, address: Address, payload: bytes) -> None:
        """Take a message. What is unsigned, altered, replayed or for somebody else is counted and not acted on."""
        try:
            document = self._read(address, payload)
            self._clock.hub_signed(document.issued_at)
            await self._act(document)
        except WireError as error:
            await self._refusals.add(address, error.code, str(error)[:200])

    async def receipt(self, receipt: Receipt) -> None:
        """Hand the hub's word on to who waits for it."""
        await self._configuration.receipt(receipt)

    def renumbered(self, by: int) -> None:
        """Learn that reports which were not sent yet have higher numbers now."""
        self._configuration.renumbered(by)

    def _read(self, address: Address, payload: bytes) -> Command | Cancel | Desired | Fetch:
        raw = open_signed(payload, self._verify)
        model = _MODELS.get((address.channel, _type(raw)))
        if model is None:
            raise BadField(f"is not one of channel {address.channel}", "type")
        document = parse_json(model, raw)
        if document.agent != self._agent:
            raise WrongAddress("is another agent's", "agent")
        if not isinstance(document, Fetch):
            if document.device != address.device:
                raise WrongAddress("is not the topic's", "device")
            if document.device not in self._devices:
                raise WrongAddress("is none of this agent's", "device")
        return document

    async def _act(self, document: Command | Cancel | Desired | Fetch) -> None:
        match document:
            case Command():
                await self._commands.command(document)
            case Cancel():
                await self._commands.cancel(document)
            case Desired():
                if reason := self._configuration.take(document):
                    raise Replayed(reason, "version")
            case Fetch():
                await self._fetch(document)

    async def _fetch(self, fetch: Fetch) -> None:
        if fetch.issued_at < max(self._last_fetch, self._clock.now() - FETCH_AGE_MS):
            raise Replayed("is older than what was asked before", "issued_at")
        self._last_fetch = fetch.issued_at
        if fetch.stream is None:
            await self._sender.say_birth()
        elif fetch.ranges:
            await self._sender.answer(fetch.outbox, Stream(fetch.stream), fetch.ranges)


def _type(raw: bytes) -> str:
    try:
        found = from_json(raw)
    except ValueError:
        return ""
    return str(found.get("type", "command")) if isinstance(found, dict) else ""
