"""Devices as values: a frozen state, and pure methods that return the next one. No clock, no socket, no chance."""
