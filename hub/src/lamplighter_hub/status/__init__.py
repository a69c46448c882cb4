"""What the hub says of itself."""
