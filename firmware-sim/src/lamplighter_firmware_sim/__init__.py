"""A world of devices behind real field protocols; it shares no code with what it tests."""
