"""Forms made from field specifications: one control a field, typed text back to values, refusals beside their field.

What is right or wrong is decided by the services alone; here a refusal is only worded in the visitor's language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lamplighter_hub.console.filters import reading, whole
from lamplighter_hub.console.i18n import N_, Language
from lamplighter_hub.console.words import unit
from lamplighter_protocols.configuration import FieldError, FieldSpec

_TYPE_WORDS: Final = {
    "integer": N_("Enter a whole number."),
    "number": N_("Enter a number."),
    "boolean": N_("Choose on or off."),
    "string": N_("Enter a text."),
}


@dataclass(frozen=True)
class Option:
    """One choice of a list."""

    value: str
    text: str


@dataclass(frozen=True)
class Control:
    """An input and everything around it. `value` is what was typed, as text."""

    id: str
    name: str
    title: str
    unit: str
    value: str
    hint: str
    error: str
    required: bool
    options: list[Option]
    numeric: bool
    whole: bool
    max_length: int
    placeholder: str


def control(
    language: Language, prefix: str, name: str, spec: FieldSpec, typed: str, error: str = "", *, default_is_empty: bool
) -> Control:
    """Return the input of a field. `default_is_empty`: an empty input stands for the default and says so."""
    default = "" if spec.default is None else _spoken(language, spec.default)
    return Control(
        id=f"{prefix}-{name}",
        name=f"{prefix}.{name}",
        title=language.pick(spec.title, name),
        unit=spec.unit,
        value=typed,
        hint=_hint(language, spec, default),
        error=error,
        required=spec.required and spec.default is None,
        options=_options(language, spec, default if default_is_empty else ""),
        numeric=spec.type in {"integer", "number"},
        whole=spec.type == "integer",
        max_length=spec.max_length,
        placeholder=default if default_is_empty else "",
    )


def written(value: Any) -> str:
    """Return a value as somebody would type it into its input.

    >>> written(True), written(5.0), written("fast"), written(None)
    ('true', '5', 'fast', '')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def read(spec: FieldSpec, typed: str) -> Any:
    """Return the value that was typed; None for an empty input, the text itself when it is not of the type.

    >>> read(FieldSpec(type="integer"), " 7 "), read(FieldSpec(type="number"), "many")
    (7, 'many')
    """
    text = typed.strip()
    if not text:
        return None
    try:
        return _READERS[spec.type](text)
    except (ValueError, KeyError):
        return text


_READERS: Final[dict[str, Any]] = {
    "integer": int,
    "number": float,
    "boolean": {"true": True, "false": False}.__getitem__,
    "string": str,
}


def read_all(specs: Mapping[str, FieldSpec], prefix: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed into a form's fields, by field name; None where nothing was."""
    return {name: read(spec, str(form.get(f"{prefix}.{name}", ""))) for name, spec in specs.items()}


def typed_texts(specs: Mapping[str, FieldSpec], prefix: str, form: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a form's fields as they were typed, to show them again."""
    return {name: str(form.get(f"{prefix}.{name}", "")) for name in specs}


def complaints(
    language: Language, specs: Mapping[str, FieldSpec], errors: Sequence[FieldError], where: str = ""
) -> dict[str, str]:
    """Return what to say beside each refused field, by field name. `where` is cut off the names."""
    found = {}
    for error in errors:
        name = error.field.removeprefix(where)
        spec = specs.get(name)
        found[name] = complaint(language, spec, error.detail) if spec else error.detail
    return found


def complaint(language: Language, spec: FieldSpec, detail: str) -> str:
    """Word a refusal by what the field's specification asks for; `detail` is the end of the English sentence."""
    if "required" in detail:
        return language.say(N_("This field is required."))
    if detail.startswith(("is below", "is above")):
        return language.say(N_("Must be within %(bounds)s.")) % {"bounds": _bounds(language, spec)}
    if detail.startswith("is longer"):
        return language.say(N_("At most %(count)s characters.")) % {"count": whole(language, spec.max_length)}
    if detail.startswith("is not one of"):
        return language.say(N_("Choose one of the values of the list."))
    if detail.startswith("is not a"):
        return language.say(_TYPE_WORDS[spec.type])
    return detail


def _spoken(language: Language, value: Any) -> str:
    if isinstance(value, bool):
        return language.say(N_("on")) if value else language.say(N_("off"))
    return written(value)


def _options(language: Language, spec: FieldSpec, default: str) -> list[Option]:
    values: list[Any] = list(spec.choices) or ([True, False] if spec.type == "boolean" else [])
    if not values:
        return []
    first = language.say(N_("default: %(value)s")) % {"value": default} if default else "\N{EN DASH}"
    return [Option("", first), *(Option(written(value), _spoken(language, value)) for value in values)]


def _hint(language: Language, spec: FieldSpec, default: str) -> str:
    parts = []
    if spec.min is not None or spec.max is not None:
        parts.append(_bounds(language, spec))
    if default and not (spec.choices or spec.type == "boolean"):
        parts.append(language.say(N_("default: %(value)s")) % {"value": default})
    return " · ".join(parts)


def _bounds(language: Language, spec: FieldSpec) -> str:
    low, high = (_bound(language, bound) for bound in (spec.min, spec.max))
    measure = f" {unit(spec.unit)}".rstrip()
    if low and high:
        return f"{low} \N{EN DASH} {high}{measure}"
    return (f"≥ {low}" if low else f"≤ {high}") + measure


def _bound(language: Language, bound: float | None) -> str:
    if bound is None:
        return ""
    decimals = len(f"{bound:g}".partition(".")[2]) if "e" not in f"{bound:g}" else 0
    return reading(language, bound, decimals)
