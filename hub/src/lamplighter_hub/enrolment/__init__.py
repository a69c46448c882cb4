"""How agents get their identity, and who is refused."""
