"""A broker behind TLS, with an authority of the city's own."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lamplighter_hub.uplink.address import BadBrokerUrl
from lamplighter_hub.uplink.session import Session
from lamplighter_protocols import topics
from lamplighter_protocols.topics import Channel
from services.mosquitto import configured_mosquitto, mosquitto
from services.mqtt import plain
from services.ports import free_port
from services.wait import eventually

pytestmark = pytest.mark.services


class Secured(NamedTuple):
    """A TLS port and a plain one of the same broker, and the certificate that signs itself."""

    tls_port: int
    plain_port: int
    certificate: Path


def certify(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker under test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "broker.pem", folder / "broker.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    certificate, key = certify(tmp_path)
    tls_port, plain_port = free_port(), free_port()
    configuration = tmp_path / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    configuration.write_text(
        f"{user}allow_anonymous true\nlistener {plain_port} 127.0.0.1\n"
        f"listener {tls_port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n"
    )
    with configured_mosquitto(configuration, plain_port):
        yield Secured(tls_port, plain_port, certificate)


def test_messages_go_both_ways_under_tls(secured: Secured) -> None:
    """Also those that TLS has decrypted already and that no poll of the socket announces."""
    session = Session(f"mqtts://127.0.0.1:{secured.tls_port}?ca={secured.certificate}", "_hub")
    session.start()
    try:
        assert session.connected.wait(10), session.trouble
        with plain(secured.plain_port, "air-1", "") as agent:
            agent.connect()
            agent.subscribe(topics.agent_filter("air-1"))
            for number in range(50):
                agent.publish(topics.build("air-1", Channel.BATCH), f"{number:05d}" * 5_000)
            found: list[bytes] = []

            def everything() -> bool:
                messages = session.take(100, 0.1)
                session.acknowledge(messages)
                found.extend(message.payload[:5] for message in messages)
                return len(found) == 50

            eventually(everything)
            assert found == [f"{number:05d}".encode() for number in range(50)]
            session.publish(topics.build("air-1", Channel.RECEIPT), b"stored" * 10_000)
            assert agent.payloads(1) == [b"stored" * 10_000]
    finally:
        session.stop()


def test_an_unknown_authority_is_not_trusted(secured: Secured) -> None:
    session = Session(f"mqtts://127.0.0.1:{secured.tls_port}", "_hub")
    session.start()
    try:
        eventually(lambda: "certificate verify failed" in session.trouble.lower())
        assert not session.connected.is_set()
    finally:
        session.stop()


def test_plain_mqtt_behind_a_tls_url_is_told(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        session = Session(f"mqtts://127.0.0.1:{broker.port}", "_hub")
        session.start()
        try:
            eventually(lambda: session.trouble.startswith("cannot reach"))
        finally:
            session.stop()


def test_an_authority_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(BadBrokerUrl, match=f"^mqtt-url: ca=.*{name} is not a file with certificates: [^\n]+$"):
            Session(f"mqtts://127.0.0.1?ca={tmp_path / name}", "_hub")
