"""What a record's metadata may hold: JSON values of five kinds, none nested."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal, get_args

from paceline.base.errors import InvalidRequest

Kind = Literal["bool", "int", "float", "string", "strings"]
Types = Mapping[str, AbstractSet[Kind]]
"""The kinds that each field was seen with; more than one where records disagree."""

KINDS: Final = get_args(Kind)
_LARGEST: Final = 1 << 63
_SHOWN: Final = 60


def kind_of(value: Any) -> Kind | None:
    """The kind of a metadata value; None if it cannot be one."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int" if -_LARGEST <= value < _LARGEST else None
        case float():
            return "float" if math.isfinite(value) else None
        case str():
            return "string" if _writable(value) else None
        case list() | tuple():
            return "strings" if all(isinstance(item, str) and _writable(item) for item in value) else None
        case _:
            return None


def _writable(text: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair is no character."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_metadata(metadata: Any, param: str = "metadata") -> dict[str, Any]:
    """The metadata as a dictionary (None: empty). InvalidRequest names the field that cannot be kept."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidRequest(
            f"metadata is a {type(metadata).__name__}; send an object of fields and values", param=param
        )
    for field, value in metadata.items():
        if not isinstance(field, str) or not field or field.startswith("$") or not _writable(field):
            raise InvalidRequest(
                f"metadata has a field named {field!r}; names are texts, not empty, and do not begin with $",
                param=param,
            )
        if kind_of(value) is None:
            raise InvalidRequest(
                f"metadata field {field!r} is {shown(value)}; send a text, a finite number (whole ones of 64 bits), "
                "true, false or a list of texts, and leave out what is null",
                param=f"{param}.{field}",
            )
    return dict(metadata)


def merged_types(parts: Iterable[Types]) -> dict[str, set[Kind]]:
    """The types of several segments together."""
    merged: dict[str, set[Kind]] = {}
    for part in parts:
        for field, kinds in part.items():
            merged.setdefault(field, set()).update(kinds)
    return merged


def shown(value: Any) -> str:
    """A value as an error shows it: not more of it than fits."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
