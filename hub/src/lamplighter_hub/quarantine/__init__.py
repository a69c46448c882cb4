"""Quarantine: what the hub could not take and why, and the release of what was set aside for its times only."""
