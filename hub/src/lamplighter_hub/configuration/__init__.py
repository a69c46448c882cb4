"""Desired and reported configuration of devices."""
