"""A search by words among the records of a view: `search_words`.

The text index knows namespaces, not filters. Where few records pass, only their texts are searched; where many do, the
ranking is walked down until enough of them have come. Either way the result is that of a search of what passes.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest, PacelineError
from paceline.vectors.batch import hashes_of
from paceline.vectors.bitmap import Bitmap
from paceline.vectors.filters import Filter
from paceline.vectors.record import Match, unpacked_metadata
from paceline.vectors.search import allowed_rows
from paceline.vectors.searched import checked_counts
from paceline.vectors.text_follower import TextFollower
from paceline.vectors.text_index import TextIndex, is_of_library
from paceline.vectors.view import Part, View

FEW: Final = 10_000
"""Records that pass at which their texts are searched by name: that takes about 10 ms for so many."""
_FIRST: Final = 256
_MOST_LOOKED_AT: Final = 50_000
"""Places of a ranking that are walked down before all that passes is searched by name, however much it is."""

Masks = list[tuple[Part, NDArray[np.bool_]]]
"""Rows of parts."""


class Placed(msgspec.Struct, frozen=True, eq=False):
    """A text that was found, and where its record is."""

    name: str
    score: float
    part: Part
    row: int


class Words(msgspec.Struct, frozen=True):
    """What is wanted."""

    text: str
    k: int
    namespace: str
    filter: Filter | None
    include_metadata: bool
    include_vectors: bool


def search_words(texts: TextFollower | None, view: View, wanted: Words) -> list[Match]:
    """The best of the view's records by BM25, best first; all writes that the view has are searched."""
    checked_counts(wanted.k, 0)
    if not isinstance(wanted.text, str):
        raise InvalidRequest(f"text is a {type(wanted.text).__name__}; send words", param="text")
    if texts is None:
        raise InvalidRequest(
            "the collection has no text_field, so no words are indexed; make one that has", param="text"
        )
    index = texts.reach(view.version)
    try:
        return _searched(index, view, wanted)
    except BaseException as error:
        if isinstance(error, PacelineError) or not is_of_library(error):
            raise
        raise texts.doubt(error) from error


def _searched(index: TextIndex, view: View, wanted: Words) -> list[Match]:
    masks = None if wanted.filter is None else _passing(view, wanted.namespace, wanted.filter)
    walked = None
    if masks is None or sum(int(mask.sum()) for _, mask in masks) > FEW:
        walked = _walked(index, view, wanted, masks)
    if walked is None:
        assert masks is not None
        among = [part.source.key_of(row) for part, mask in masks for row in np.flatnonzero(mask).tolist()]
        walked = _placed(view, index.search(wanted.text, wanted.k, wanted.namespace, among=among), wanted)
    return [_match(one, wanted) for one in walked]


def _walked(index: TextIndex, view: View, wanted: Words, masks: Masks | None) -> list[Placed] | None:
    """The best that pass, from the top of the ranking down; None if they are too far down."""
    by_part = {} if masks is None else {id(part): mask for part, mask in masks}
    looked_at = max(_FIRST, wanted.k)
    while True:
        found = index.search(wanted.text, looked_at, wanted.namespace)
        kept = _placed(view, found, wanted)
        if masks is not None:
            kept = [one for one in kept if id(one.part) in by_part and by_part[id(one.part)][one.row]]
        if len(kept) >= wanted.k or len(found) < looked_at:
            return kept[: wanted.k]
        if masks is not None and looked_at >= _MOST_LOOKED_AT:
            return None
        looked_at *= 4


def _passing(view: View, namespace: str, wanted: Filter) -> Masks:
    """Of each part the rows that are in the namespace, pass and are not deleted."""
    masks = []
    for part in view.parts:
        allowed = allowed_rows(part, namespace, wanted) if part.live else False
        if allowed is not False:
            count = len(part.source)
            mask = np.ones(count, np.bool_) if allowed is True else _mask(allowed, count)
            masks.append((part, mask if part.deleted is None else mask & ~_mask(part.deleted, count)))
    return masks


def _mask(bitmap: Bitmap, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(bitmap.view(np.uint8), count=count, bitorder="little").view(np.bool_)


def _placed(view: View, found: list[tuple[str, float]], wanted: Words) -> list[Placed]:
    """Where what was found is; without what the view does not have, as a later write made or deleted it."""
    keys = [(wanted.namespace, name) for name, _ in found]
    places = view.find(keys, hashes_of(keys))
    return [
        Placed(name, score, *place)
        for (name, score), place in zip(found, places, strict=True)
        if place is not None
    ]


def _match(one: Placed, wanted: Words) -> Match:
    source = one.part.source
    return Match(
        one.name,
        one.score,
        unpacked_metadata(source.metadata_of(one.row)) if wanted.include_metadata else None,
        source.vectors_of(np.array([one.row]))[0] if wanted.include_vectors else None,
    )
