"""The outermost layer of the HTTP face: request ids, headers for browsers, the body limit, and a last resort.

Plain ASGI, so that streams pass through untouched.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 1024 * 1024
"""Largest request body, in bytes."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every response that does not say otherwise itself."""
Fail = Callable[[Request, Exception], Response]


def request_id(request: Request) -> str:
    """Return the id under which the log knows this request."""
    return str(request.scope.get("lamplighter.request_id", ""))


class Guard:
    """Wraps the application; `fail` words the answer to an exception that nobody expected."""

    def __init__(self, app: ASGIApp, fail: Fail) -> None:
        self._app = app
        self._fail = fail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["lamplighter.request_id"] = secrets.token_hex(8)
        response = _Response(send, scope["lamplighter.request_id"])
        try:
            await self._app(scope, _Body(scope, receive), response)
        except Exception as error:
            # Supervision: one request's mistake is answered and logged, and ends there.
            if response.started:
                raise
            await self._fail(Request(scope), error)(scope, receive, response)


class _Body:
    """Receives a request's body up to the limit."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._left = MAX_BODY
        said = dict(scope["headers"]).get(b"content-length", b"0")
        self._refused = said.isdigit() and int(said[:20]) > MAX_BODY

    async def __call__(self) -> Message:
        if self._refused:
            raise _too_large()
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large()
        return message


def _too_large() -> HTTPException:
    return HTTPException(413, f"the body is larger than {MAX_BODY} bytes")


class _Response:
    """Sends, and adds the headers to the first message."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self._id
        await self._send(message)
