"""Another precision for the codes that are searched, made of the copies that are finest: `checked_change`, `recoded`.

The graph does not know the codes, so a segment keeps it, and its rows their numbers: only the codes are made again.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.vectors.codes import Coded, Coder, Precision, aligned_rows
from paceline.vectors.metric import Metric
from paceline.vectors.policy import Schema
from paceline.vectors.segment import Segment, SegmentContent

_LEARNED_FROM: Final = 16_384
_AT_ONCE: Final = 8_192
_HELD_BY: Final[dict[str, frozenset[Precision]]] = {
    "fp32": frozenset({"fp32"}),
    "fp16": frozenset({"fp16", "fp32"}),
    "bf16": frozenset({"bf16", "fp32"}),
}
"""Precisions in which every number of another one is the same number."""


def checked_change(schema: Schema, precision: Precision) -> Schema:
    """The schema with another precision. InvalidRequest if vectors could not be held in it, or would lose digits."""
    if precision not in get_args(Precision):
        raise InvalidRequest(
            f"precision {precision!r} is unknown; use one of {', '.join(get_args(Precision))}",
            param="precision",
        )
    if schema.rescore == "none" and precision not in _HELD_BY[schema.precision]:
        raise InvalidRequest(
            f"the codes in {schema.precision} are the only copy of the vectors, and {precision} would lose digits of "
            f"them; make a collection with rescore fp16 and load the vectors into it",
            param="precision",
        )
    if precision == "fp16" and schema.rescore in {"bf16", "fp32"} and schema.metric != "cosine":
        raise InvalidRequest(
            f"vectors under {schema.metric} that {schema.rescore} holds may be above 65504, the most of fp16; use bf16",
            param="precision",
        )
    return msgspec.structs.replace(schema, precision=precision)


def is_stale(segment: Segment, schema: Schema) -> bool:
    """Whether a segment is held in another precision than the schema says."""
    return segment.coded.coder.shape.precision != schema.precision


def recoded(segment: Segment, schema: Schema) -> SegmentContent:
    """All rows of a segment, deleted ones too, in the precision of `schema`."""
    return SegmentContent(
        ids=segment.ids,
        metadata=segment.packed_metadata,
        hashes=segment.hashes(),
        namespace_of=segment.namespace_of,
        namespaces=segment.head.namespaces,
        lengths=segment.lengths,
        coded=encoded(segment.fine, schema.precision, schema.metric),
        fine=None if schema.rescore == "none" else segment.fine,
        graph=segment.graph,
        columns=segment.columns,
    )


def encoded(source: Coded, precision: Precision, metric: Metric) -> Coded:
    """Other codes of the same vectors, a block at a time: the vectors need not all be in memory."""
    decode, count = source.coder.decode, len(source)
    coder = Coder.learn(decode(source.rows[:: max(1, count // _LEARNED_FROM)]), precision, metric)
    rows = aligned_rows(count, coder.row_bytes)
    for start in range(0, count, _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        rows[block] = coder.encode(decode(source.rows[block]))
    return Coded(coder, rows)
