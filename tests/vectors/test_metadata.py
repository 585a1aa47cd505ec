"""What metadata may hold, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from paceline.base.errors import InvalidRequest
from paceline.vectors.metadata import checked_metadata, kind_of, merged_types


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "bool"),
        (1, "int"),
        (-(1 << 63), "int"),
        (1.5, "float"),
        ("", "string"),
        ("na\u00efve", "string"),
        ([], "strings"),
        (["a", "b"], "strings"),
        (None, None),
        (1 << 63, None),
        (float("nan"), None),
        (float("inf"), None),
        ("\ud800", None),
        (["a", 1], None),
        ({"a": 1}, None),
    ],
)
def test_values_have_a_kind_or_none(value: Any, kind: str | None) -> None:
    """JSON's flat values have one; null, nested ones and what does not fit have none."""
    assert kind_of(value) == kind


@pytest.mark.parametrize("metadata", [{"a": None}, {"a": {"b": 1}}, {"a": [1]}, {"a": float("nan")}])
def test_a_value_that_cannot_be_kept_is_named(metadata: dict[str, Any]) -> None:
    """The error names the field and says what may be sent."""
    with pytest.raises(InvalidRequest, match=r"metadata field 'a'.*send a text") as caught:
        checked_metadata(metadata, "vectors[3].metadata")

    assert caught.value.param == "vectors[3].metadata.a"


@pytest.mark.parametrize("field", ["", "$and", "\ud800", 7])
def test_a_name_that_cannot_be_a_field_is_refused(field: Any) -> None:
    """Operators begin with $, so fields do not."""
    with pytest.raises(InvalidRequest, match="do not begin with"):
        checked_metadata({field: 1})


def test_no_metadata_is_an_empty_one() -> None:
    """None and {} are the same."""
    assert checked_metadata(None) == checked_metadata({}) == {}


def test_metadata_is_an_object() -> None:
    """A list is refused."""
    with pytest.raises(InvalidRequest, match="list; send an object"):
        checked_metadata([1])


def test_types_of_segments_are_merged() -> None:
    """A field has all kinds that some segment has."""
    merged = merged_types([{"a": {"int"}, "b": {"bool"}}, {"a": {"float"}}])

    assert merged == {"a": {"int", "float"}, "b": {"bool"}}
