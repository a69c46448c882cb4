"""What the hub has of each agent's streams, what is missing and what was given up."""
