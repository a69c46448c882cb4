"""Reading everything that is kept, and comparing checksums (docs/decisions/0059)."""
