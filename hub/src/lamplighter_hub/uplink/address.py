"""Where a broker is, from one URL.

>>> parse_url("mqtt://hub:s3cret@broker.example:1884")
BrokerAddress(host='broker.example', port=1884, username='hub', password='...', tls=False, ca='')
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from lamplighter_protocols.errors import LamplighterError

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class BadBrokerUrl(LamplighterError):
    """The `--mqtt-url` cannot be used; the text says why and never contains the password."""


@dataclass(frozen=True)
class BrokerAddress:
    """Host, port and credentials of a broker; `ca` is a PEM file that replaces the system's authorities."""

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""

    def __repr__(self) -> str:
        secret = "..." if self.password else ""
        return (
            f"BrokerAddress(host={self.host!r}, port={self.port}, username={self.username!r}, "
            f"password={secret!r}, tls={self.tls}, ca={self.ca!r})"
        )

    @property
    def shown(self) -> str:
        """The URL without credentials, for logs and people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_url(url: str) -> BrokerAddress:
    """Read `mqtt://user:password@host:port` or `mqtts://host?ca=FILE`. Raises BadBrokerUrl."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadBrokerUrl("mqtt-url: the port is not a number from 1 to 65535") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadBrokerUrl("mqtt-url: must look like mqtt://HOST:PORT or mqtts://HOST:PORT")
    if parts.path not in ("", "/"):
        raise BadBrokerUrl("mqtt-url: takes no path behind the port")
    return BrokerAddress(
        parts.hostname,
        port or PORTS[parts.scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        parts.scheme == "mqtts",
        parse_qs(parts.query).get("ca", [""])[0],
    )
