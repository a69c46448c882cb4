"""A foreign device with nothing but an MQTT client and the wire contract."""

from __future__ import annotations

import json
import subprocess
import time

from lamplighter_protocols.topics import Channel, build
from services.hub import Hub
from services.need import need
from services.wait import eventually

AGENT, DEVICE = "foreign-1", "foreign-air"


def publish(hub: Hub, password: str, topic: str, payload: str, qos: int) -> None:
    """Use mosquitto_pub, as somebody else's device would use its own client."""
    argv = [str(need("mosquitto_pub")), "-h", "127.0.0.1", "-p", str(hub.mqtt_port), "-V", "mqttv311"]
    argv += ["-i", AGENT, "-u", AGENT, "-P", password, "-t", topic, "-q", str(qos), "-m", payload]
    subprocess.run(argv, check=True, timeout=30, capture_output=True)


def test_senml_from_mosquitto_pub_appears_in_the_series(hub: Hub) -> None:
    password = hub.post("agents", {"agents": [{"id": AGENT}]})["items"][0]["password"]
    now = int(time.time())
    birth = {
        "session": 1,
        "boot": "01M80T5JNV0000000000000000",
        "heard_within_s": 3600,
        "sent": now * 1000,
        "devices": [{"id": DEVICE, "profile": "air-station"}],
    }
    publish(hub, password, build(AGENT, Channel.BIRTH), json.dumps(birth), qos=1)
    eventually(lambda: hub.device(DEVICE).get("state") == "online", within_s=20)

    pack = [{"bn": f"{DEVICE}:", "bt": now, "n": "temp", "u": "Cel", "v": 21.5}, {"n": "pm25", "u": "ug/m3", "v": 33}]
    for qos in (0, 1):
        publish(hub, password, build(AGENT, Channel.SENML, DEVICE), json.dumps(pack), qos=qos)
        pack[0]["bt"] = now + 1

    eventually(lambda: hub.latest(DEVICE) == {"temp": 21.5, "pm25": 33.0}, within_s=20)
    eventually(lambda: len(hub.get(f"devices/{DEVICE}/readings", metric="temp")["items"]) == 2, within_s=20)

    publish(hub, password, build(AGENT, Channel.SENML, DEVICE), '[{"n":"temp","u":"Cel","v":"warm"}]', qos=1)
    refused = eventually(lambda: hub.get("quarantine", agent=AGENT)["items"], within_s=20)[0]
    assert refused["field"]
    assert refused["detail"]
