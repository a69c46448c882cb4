"""Devices behind agents: which exist, whose they are, how they are."""
