"""Faces: how a device is seen from outside. Each speaks one field protocol for any device."""
