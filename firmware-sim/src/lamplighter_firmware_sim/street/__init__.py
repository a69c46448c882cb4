"""A small street: devices behind real field protocols, and the agents' configurations that reach them."""
