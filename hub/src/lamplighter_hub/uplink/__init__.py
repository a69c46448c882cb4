"""The hub's MQTT session towards whatever broker there is."""
