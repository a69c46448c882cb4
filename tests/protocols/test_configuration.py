"""Configuration documents: layers merge in order, and every wrong field is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.configuration import FieldSpec, check_fields, document_hash, merge

SPECS = {
    "interval_s": FieldSpec(type="number", min=0.5, max=60, default=10.0),
    "count": FieldSpec(type="integer", min=1, max=5),
    "language": FieldSpec(type="string", choices=["zh", "en"], default="zh"),
    "message": FieldSpec(type="string", max_length=5),
    "enabled": FieldSpec(type="boolean", required=True),
}
WRONG: list[tuple[str, Any, str]] = [
    ("interval_s", "2", "is not a number"),
    ("interval_s", True, "is not a number"),
    ("interval_s", float("nan"), "is not a number"),
    ("interval_s", float("inf"), "is not a number"),
    ("interval_s", 0.4, "is below 0.5"),
    ("interval_s", 61, "is above 60"),
    ("interval_s", 10**400, "is above 60"),
    ("interval_s", [], "is not a number"),
    ("count", 2.0, "is not an integer"),
    ("count", True, "is not an integer"),
    ("count", 0, "is below 1"),
    ("language", "de", "is not one of zh, en"),
    ("message", "longer", "is longer than 5"),
    ("message", None, "is not a string"),
    ("enabled", 1, "is not a boolean"),
    ("volume", 1, "is unknown; known fields: count, enabled, interval_s, language, message"),
]


@pytest.mark.parametrize(("field", "value", "detail"), WRONG)
def test_a_wrong_field_is_named(field: str, value: Any, detail: str) -> None:
    errors = check_fields(SPECS, {"enabled": True, field: value}, "args.")
    assert [(error.field, error.detail) for error in errors] == [(f"args.{field}", detail)]


def test_all_wrong_fields_are_named_at_once() -> None:
    errors = check_fields(SPECS, {"count": 9, "x": 1})
    assert [error.field for error in errors] == ["count", "x", "enabled"]


def test_good_documents_pass() -> None:
    document = {"interval_s": 2, "count": 5, "language": "en", "message": "hello", "enabled": False}
    assert check_fields(SPECS, document) == []


def test_layers_overlay_defaults_in_order_and_null_takes_back() -> None:
    unit, device = {"interval_s": 5.0, "count": 2}, {"count": 3, "interval_s": None}
    assert merge(SPECS) == {"interval_s": 10.0, "language": "zh"}
    assert merge(SPECS, unit) == {"interval_s": 5.0, "language": "zh", "count": 2}
    assert merge(SPECS, unit, device) == {"interval_s": 10.0, "language": "zh", "count": 3}
    assert merge(SPECS, unit, {"count": None}) == {"interval_s": 5.0, "language": "zh"}


@given(st.dictionaries(st.text(min_size=1), st.booleans() | st.integers() | st.text()))
def test_a_hash_does_not_depend_on_order(document: dict[str, Any]) -> None:
    backwards = dict(reversed(document.items()))
    assert document_hash(document) == document_hash(backwards)
    assert document_hash(document | {"one more": 1}) != document_hash(document)


def test_a_default_outside_its_own_bounds_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="default: 9 is above 5"):
        FieldSpec(type="integer", max=5, default=9)
