"""A collection in PostgreSQL: a table of its own in the schema `paceline`, with an HNSW index, and its statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson
from psycopg.sql import SQL, Composed, Identifier

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import CollectionCard
from paceline.vectors.metric import Floats, Metric
from paceline.vectors.policy import Schema

_TYPES: Final = {"fp32": SQL("vector"), "fp16": SQL("halfvec")}
_MOST_DIMENSIONS: Final = {"fp32": 2000, "fp16": 4000}
"""That an HNSW index of pgvector takes."""
_OPCLASSES: Final[Mapping[Metric, str]] = {"cosine": "cosine_ops", "dot": "ip_ops", "l2": "l2_ops"}
_DISTANCES: Final[Mapping[Metric, SQL]] = {"cosine": SQL("<=>"), "dot": SQL("<#>"), "l2": SQL("<->")}


class PgCollection(msgspec.Struct, frozen=True):
    """Its name and what it holds; `schema.precision` is fp32 or fp16."""

    name: str
    schema: Schema

    @property
    def table(self) -> Identifier:
        """The quoted name of its table."""
        return Identifier("paceline", self.name)

    @property
    def type(self) -> SQL:
        """Of the vectors."""
        return _TYPES[self.schema.precision]

    def statement(self, text: str) -> Composed:
        """SQL with {table}, {type} and {distance} of this collection; `text` is a literal of our own."""
        return SQL(text).format(table=self.table, type=self.type, distance=_DISTANCES[self.schema.metric])

    def created(self) -> list[Composed]:
        """The statements that make it."""
        opclass = f"{self.type.as_string()}_{_OPCLASSES[self.schema.metric]}"
        return [
            SQL(
                'CREATE TABLE {table} (namespace text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,'
                " embedding {type}({dimensions}) NOT NULL, metadata jsonb NOT NULL, PRIMARY KEY (namespace, id))"
            ).format(table=self.table, type=self.type, dimensions=self.schema.dimensions),
            SQL("CREATE INDEX ON {table} USING hnsw (embedding {opclass})").format(
                table=self.table, opclass=Identifier(opclass)
            ),
            SQL("CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)").format(table=self.table),
        ]

    def score(self, distance: float) -> float:
        """A score that is higher where it is nearer, of pgvector's distance."""
        match self.schema.metric:
            case "cosine":
                return 1.0 - distance
            case "dot":
                return -distance  # pgvector tells the inner product negated
            case "l2":
                return -distance * distance

    def card(self, records: int) -> CollectionCard:
        """As it is listed."""
        return CollectionCard(
            name=self.name,
            dimension=self.schema.dimensions,
            metric=self.schema.metric,
            precision=self.schema.precision,
            records=records,
            version=0,
        )


def held_schema(wish: Schema) -> Schema:
    """What pgvector holds of it: of codes with a finer copy the copy, which is then searched itself.

    InvalidRequest where its index cannot be as wide.
    """
    copy = wish.rescore if wish.precision in {"int8", "binary"} else wish.precision
    most = _MOST_DIMENSIONS[copy]
    if wish.dimensions > most:
        way = "use precision fp16, or fewer dimensions" if copy == "fp32" else "use fewer"
        raise InvalidRequest(
            f"dimension is {wish.dimensions}; pgvector's index takes {most} in {copy}: {way}",
            param="dimension",
        )
    return msgspec.structs.replace(wish, precision=copy, rescore="none")


def vector_text(vector: Floats) -> str:
    """A vector as pgvector reads it: the shortest digits that give the same float32."""
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def metadata_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Metadata as it was sent: jsonb gives a large float back as a whole number."""
    return {
        field: float(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value
        for field, value in document.items()
    } or None
