"""Thousands of MQTT agents from few processes: a load for a hub, and a count of what it confirmed."""
