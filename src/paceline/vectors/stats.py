"""What there is to know of a collection: counts, sizes, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from paceline.base.errors import PacelineError
from paceline.vectors.files import Files
from paceline.vectors.segment import Segment
from paceline.vectors.text_follower import TextFollower, TextStats
from paceline.vectors.view import View
from paceline.vectors.wal import Log

_SUMMED: Final = (
    "records", "version", "segments", "rows_with_graph", "rows_scanned", "deleted", "held_bytes", "disk_bytes", "log_bytes",
)  # fmt: skip


class CollectionStats(msgspec.Struct, frozen=True):
    """A collection at one moment."""

    records: int
    namespaces: dict[str, int]
    """Records of each."""
    dimensions: int
    version: int
    segments: int
    rows_with_graph: int
    rows_scanned: int
    """Live rows without a graph, fresh ones among them."""
    deleted: int
    """Rows that are deleted and not yet removed."""
    precisions: dict[str, float]
    """Share of the records by the precision in which they are searched; `fresh` ones are not yet in a segment."""
    held_bytes: int
    """Of codes and graphs, which searches go through."""
    disk_bytes: int
    """Of segments."""
    log_bytes: int
    """Of the current log."""
    damaged: dict[str, str]
    """Segments set aside, by number, and why; in several shards by SHARD/NUMBER, as troubles are."""
    troubles: dict[str, str]
    """What the upkeep could not do at its last try, and why."""
    shards: dict[str, CollectionStats] = {}
    """Of each shard, where there are several; while slots move, copies are counted twice."""
    missing: dict[str, str] = {}
    """Shards of which nothing is known now, and why."""
    texts: TextStats | None = None
    """Of the words, if the schema names a field of them."""


def stats_of(
    view: View,
    files: Files,
    log: Log,
    troubles: Mapping[str, PacelineError],
    texts: TextFollower | None,
) -> CollectionStats:
    """The statistics of a view and what stands behind it."""
    failed = dict(troubles)
    if texts is not None and texts.trouble is not None:
        failed["texts"] = texts.trouble
    segments = [segment for segment, _ in view.segments()]
    graphed = sum(part.live for segment, part in view.segments() if segment.graph is not None)
    return CollectionStats(
        records=view.live,
        namespaces=_namespaces(view),
        dimensions=files.manifest.schema.dimensions,
        version=view.version,
        segments=len(segments),
        rows_with_graph=graphed,
        rows_scanned=view.live - graphed,
        deleted=sum(part.gone for part in view.parts),
        precisions=_precisions(view),
        held_bytes=sum(segment.held_bytes for segment in segments),
        disk_bytes=sum(segment.disk_bytes for segment in segments),
        log_bytes=log.size,
        damaged={str(number): reason for number, reason in files.damaged.items()},
        troubles={name: error.message for name, error in failed.items()},
        texts=None if texts is None else texts.stats(),
    )


def stats_of_shards(
    shards: Mapping[str, CollectionStats], missing: Mapping[str, str], dimensions: int
) -> CollectionStats:
    """The sum of what shards say; `version` is that of those that said something."""
    each = list(shards.values())
    namespaces: Counter[str] = Counter()
    precisions: dict[str, float] = {}
    for one in each:
        namespaces.update(one.namespaces)
        for name, share in one.precisions.items():
            precisions[name] = precisions.get(name, 0.0) + share * one.records
    sums = {name: sum(getattr(one, name) for one in each) for name in _SUMMED}
    return CollectionStats(
        **sums,
        namespaces=dict(namespaces),
        dimensions=dimensions,
        precisions={name: count / sums["records"] for name, count in sorted(precisions.items()) if count},
        damaged={f"{name}/{at}": why for name, one in shards.items() for at, why in one.damaged.items()},
        troubles={f"{name}/{job}": why for name, one in shards.items() for job, why in one.troubles.items()},
        shards=dict(shards),
        missing=dict(missing),
    )


def _precisions(view: View) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for part in view.parts:
        counts[part.source.coded.coder.shape.precision if isinstance(part.source, Segment) else "fresh"] += (
            part.live
        )
    return {name: count / view.live for name, count in sorted(counts.items()) if count}


def _namespaces(view: View) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in view.parts:
        rows = part.live_rows()
        if isinstance(part.source, Segment):
            names = part.source.head.namespaces
            found: Mapping[str, int] = dict(
                zip(
                    names,
                    np.bincount(part.source.namespace_of[rows], minlength=len(names)).tolist(),
                    strict=True,
                )
            )
        else:
            found = Counter(part.source.key_of(row)[0] for row in rows.tolist())
        for name, count in found.items():
            counts[name] = counts.get(name, 0) + count
    return {name: count for name, count in counts.items() if count}
