"""Backups of a running hub, and how one becomes a hub again."""
