"""What can go wrong in the simulator, as types.

SimulatorError
├── UsageError          a file, option or address that cannot be used; one line, and what to do
└── ProtocolError       bytes from the other side that its protocol does not allow
"""

from __future__ import annotations


class SimulatorError(Exception):
    """Root of everything that the simulator raises on purpose."""


class UsageError(SimulatorError):
    """Something that the caller can put right; the text says how."""


class ProtocolError(SimulatorError):
    """The other side sent bytes that its protocol does not allow."""
