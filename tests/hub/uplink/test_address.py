"""Where a broker is, from one URL."""

from __future__ import annotations

import pytest

from lamplighter_hub.uplink.address import BadBrokerUrl, BrokerAddress, parse_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883)),
        ("mqtt://broker:1884/", BrokerAddress("broker", 1884)),
        ("mqtts://broker", BrokerAddress("broker", 8883, tls=True)),
        ("mqtts://broker?ca=/etc/ca.pem", BrokerAddress("broker", 8883, tls=True, ca="/etc/ca.pem")),
        ("mqtt://hub:p%40ss@[::1]:1883", BrokerAddress("::1", 1883, "hub", "p@ss")),
    ],
)
def test_a_url_is_understood(url: str, address: BrokerAddress) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url", ["", "broker", "http://broker", "mqtt://", "mqtt://b:x", "mqtt://b:70000", "mqtt://b/topic"]
)
def test_a_bad_url_is_one_line_that_names_the_option(url: str) -> None:
    with pytest.raises(BadBrokerUrl, match=r"^mqtt-url: [^\n]+$"):
        parse_url(url)


def test_credentials_are_never_shown() -> None:
    address = parse_url("mqtt://hub:s3cret@broker:1884")
    assert "s3cret" not in repr(address)
    assert address.shown == "mqtt://broker:1884"
    assert parse_url("mqtts://[::1]").shown == "mqtts://[::1]:8883"
    with pytest.raises(BadBrokerUrl) as failed:
        parse_url("mqtt://hub:s3cret@broker:port")
    assert "s3cret" not in str(failed.value)
