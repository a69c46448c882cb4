"""Requests to act, from acceptance to result."""
