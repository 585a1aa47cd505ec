"""What all that is asked of collections of vectors, and all that is answered, has in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Values = Annotated[
    list[float] | str,
    Meta(description="The numbers, or base64 of them as little-endian float32."),
]
Collection = Annotated[str, Meta(description="Collection; empty: the only one, or `vectors.collection`.")]
Namespace = Annotated[str, Meta(description="Part of the collection; the empty one is the default.")]


class Message(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Something that is asked."""

    collection: Collection = ""


class Answer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Something that is answered."""
