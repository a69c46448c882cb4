"""The hub's public API as the command line uses it: nothing that anybody else could not call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

PREFIX: Final = "/api/v1"
PAGE: Final = 1000
CONNECT_S: Final = 5.0
ANSWER_S: Final = 30.0
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Query = Mapping[str, str | int | float | list[str] | None]


class Failed(Exception):
    """Something a person can act on: what happened, and what to do next. Both fit one line together."""

    def __init__(self, what: str, then: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.then = then


class Unreachable(Failed):
    """No hub answers at this address."""


class Problem(Failed):
    """The hub said no (RFC 9457): `status`, `code`, and the fields it names."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(body.get("type", "")).rpartition(":")[2]
        self.fields = [error for error in body.get("errors") or () if isinstance(error, dict)]
        text = str(body.get("detail") or body.get("title") or f"the hub answered with status {status}")
        named = "; ".join(f"{error.get('field')}: {error.get('detail')}" for error in self.fields)
        told = all(str(error.get("detail")) in text for error in self.fields)
        super().__init__(text if told else f"{text} ({named})", _LISTED.get(self.code, _NEXT.get(status, "")))


_LISTED: Final = {
    "device_unknown": "list them with `lamplighter devices`",
    "agent_unknown": "list them with `lamplighter agents`",
    "command_unknown": "list them with `lamplighter command list`",
    "entry_unknown": "list them with `lamplighter quarantine`",
    "token_unknown": "list them with `lamplighter token list`",
    "code_unknown": "list them with `lamplighter enroll-code list`",
    "nothing_to_release": "see what is there with `lamplighter quarantine`",
    "no_room": "make room on the hub's disk",
}
_NEXT: Final = {
    401: "give a valid token with --token or LAMPLIGHTER_TOKEN, or run on the hub's machine with --data DIR",
    403: "use a token with a higher role: lamplighter token create --role operator|administrator",
    409: "look at its present state first: lamplighter status, lamplighter command list",
    429: "wait a moment and try again",
    503: "see what does not run: lamplighter status",
}


class Address(NamedTuple):
    """Where the hub is and the token that opens it."""

    url: str
    token: str


@dataclass
class Hub:
    """One connection to the API. Every method raises Unreachable or Problem."""

    address: Address
    transport: httpx.BaseTransport | None = None
    _client: httpx.Client | None = field(default=None, init=False)

    @property
    def client(self) -> httpx.Client:
        """The HTTP client; made at the first call. A proxy of the environment never sees a call to this machine."""
        if self._client is None:
            import httpx  # here and below: a hub that starts by the same program does without its memory

            headers = {"Authorization": f"Bearer {self.address.token}"} if self.address.token else {}
            self._client = httpx.Client(
                base_url=self.address.url,
                headers=headers,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                trust_env=_host(self.address.url) not in LOOPBACK,
                transport=self.transport,
            )
        return self._client

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return what a resource holds."""
        with self._named():
            return _body(self.client.get(PREFIX + path, params=_given(query)))

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a change; return what the hub answers (None for an empty answer)."""
        with self._named():
            return _body(self.client.request(method, PREFIX + path, json=body, headers=dict(headers or {})))

    def upload(self, path: str, query: Query, content: bytes, media_type: str) -> Any:
        """Send bytes; return what the hub answers."""
        headers = {"Content-Type": media_type}
        with self._named():
            return _body(self.client.post(PREFIX + path, params=_given(query), content=content, headers=headers))

    def items(self, path: str, query: Query | None = None, *, limit: int = PAGE) -> Iterator[dict[str, Any]]:
        """Return up to `limit` items of a list, page by page."""
        cursor: str | None = None
        while limit > 0:
            page = self.get(path, {**(query or {}), "limit": min(limit, PAGE), "cursor": cursor})
            if isinstance(page, list):
                page = {"items": page}
            found = page.get("items", [])[:limit]
            yield from found
            limit -= len(found)
            cursor = page.get("next")
            if not cursor:
                return

    @contextmanager
    def stream(
        self, path: str, query: Query | None = None, told: Callable[[Mapping[str, str]], None] | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Open an answer of any length as pieces of bytes; Unreachable when it breaks off. `told` gets its headers."""
        with self._named(), self.client.stream("GET", PREFIX + path, params=_given(query)) as response:
            if response.is_error:
                response.read()
                _body(response)
            if told is not None:
                told(response.headers)
            yield response.iter_bytes()

    @contextmanager
    def _named(self) -> Iterator[None]:
        import httpx

        where = self.address.url
        try:
            yield
        except httpx.ConnectError as error:
            raise Unreachable(
                f"no hub answers at {where}: {error}", "start one with `lamplighter up`, or name one with --url"
            ) from None
        except httpx.TimeoutException:
            raise Unreachable(f"the hub at {where} did not answer in time", "see `lamplighter status`") from None
        except httpx.HTTPError as error:
            raise Unreachable(f"the hub at {where} broke the connection: {error}", "try again") from None


def _host(url: str) -> str:
    """Return the host of an address. Raises Failed when it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise Failed(f"{url!r} is not an address of a hub", "use --url http://HOST:PORT")


def _given(query: Query | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None and value not in ("", [])}


def _body(response: httpx.Response) -> Any:
    try:
        body = response.json() if response.content else None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise Failed(
            f"{response.url.host}:{response.url.port} is not a Lamplighter hub (status {response.status_code})",
            "check --url",
        ) from None
    if response.is_error:
        raise Problem(response.status_code, body if isinstance(body, dict) else {})
    return body
