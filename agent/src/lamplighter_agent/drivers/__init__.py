"""Drivers that come with the agent; each enters by the same door as an outsider: an entry point."""
