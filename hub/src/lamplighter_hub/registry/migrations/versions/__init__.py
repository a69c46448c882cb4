"""One revision of the registry a file."""
