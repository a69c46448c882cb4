"""Roles, and who is asking."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, NamedTuple


class Role(StrEnum):
    """What somebody may do; each may everything the one before may.

    >>> Role.OPERATOR.reaches(Role.VIEWER), Role.VIEWER.reaches(Role.OPERATOR)
    (True, False)
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def reaches(self, needed: Role) -> bool:
        """True when this role may do what `needed` may."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER: Final = (Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR)


class Principal(NamedTuple):
    """Who asks: a token or a console session. `csrf` is what a session's unsafe requests must carry."""

    kind: Literal["token", "session"]
    id: str
    name: str
    role: Role
    csrf: str = ""

    @property
    def issuer(self) -> str:
        """How records name them, such as `token night-shift`."""
        return f"{self.kind} {self.name}"
