"""A group of commands whose name alone runs the one that people mean most often."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

HELP = frozenset({"--help", "-h"})


class _Group(TyperGroup):
    usual = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the usual command in front when none of the group's commands is named."""
        first = args[0] if args else ""
        if first not in self.commands and first not in HELP and (not first or first.startswith("-")):
            args = [self.usual, *args]
        return super().parse_args(ctx, args)


def group(usual: str, help_text: str) -> typer.Typer:
    """Return a group in which `usual` needs no name."""
    kind = type("Group", (_Group,), {"usual": usual})
    return typer.Typer(cls=kind, help=help_text, no_args_is_help=False, rich_markup_mode="rich")
