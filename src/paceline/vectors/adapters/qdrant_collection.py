"""A collection of Qdrant: how it is made, what it says of itself, and what its scores mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import CollectionCard
from paceline.base.vectors_records import Query
from paceline.vectors.adapters.foreign import TEXT_FIELD
from paceline.vectors.metric import Metric
from paceline.vectors.policy import Schema

_DISTANCES: Final[Mapping[Metric, str]] = {"cosine": "Cosine", "dot": "Dot", "l2": "Euclid"}
_METRICS: Final[Mapping[str, Metric]] = {distance: metric for metric, distance in _DISTANCES.items()}
_DATATYPES: Final = {"fp32": "float32", "fp16": "float16"}


class QdrantCollection(msgspec.Struct, frozen=True):
    """One unnamed dense vector a point."""

    name: str
    schema: Schema
    shards: int

    @property
    def path(self) -> tuple[str, str]:
        """Where it is in Qdrant."""
        return ("collections", self.name)

    @classmethod
    def of_reply(cls, name: str, reply: Any) -> Self | None:
        """What `GET /collections/NAME` says; None for a collection of another form."""
        params, quantization = reply["config"]["params"], reply["config"].get("quantization_config") or {}
        vectors = params.get("vectors") or {}
        if "size" not in vectors or vectors["distance"] not in _METRICS:
            return None
        copy = "fp16" if vectors.get("datatype") == "float16" else "fp32"
        precision = "int8" if "scalar" in quantization else "binary" if "binary" in quantization else copy
        schema = msgspec.convert(
            {
                "dimensions": vectors["size"],
                "metric": _METRICS[vectors["distance"]],
                "precision": precision,
                "rescore": copy,
                "text_field": TEXT_FIELD,
            },
            Schema,
        )
        return cls(name, schema, params.get("shard_number", 1))

    def card(self, records: int) -> CollectionCard:
        """As it is listed."""
        return CollectionCard(
            name=self.name,
            dimension=self.schema.dimensions,
            metric=self.schema.metric,
            precision=self.schema.precision,
            records=records,
            version=0,
            shards=self.shards,
        )

    def search_params(self, asked: Query) -> dict[str, Any]:
        """Qdrant's `params` of a query."""
        params: dict[str, Any] = {"exact": asked.exact}
        if asked.ef is not None:
            params["hnsw_ef"] = asked.ef
        if self.schema.precision in {"int8", "binary"}:
            quantization: dict[str, Any] = {"rescore": True, "ignore": asked.exact}
            if asked.candidates is not None:
                quantization["oversampling"] = max(1.0, asked.candidates / asked.top_k)
            params["quantization"] = quantization
        elif asked.candidates is not None:
            raise InvalidRequest(
                f"collection {self.name!r} is searched in {self.schema.precision}, so nothing is scored again; "
                "leave out candidates",
                param="candidates",
            )
        return params

    def score(self, told: float) -> float:
        """A score that is higher where it is nearer; Qdrant tells the distance under `Euclid`."""
        return -told * told if self.schema.metric == "l2" else told


def body_of_wish(schema: Schema, shards: int) -> dict[str, Any]:
    """`PUT /collections/NAME` of a new collection: codes are searched, the finer copy is the vector that is kept."""
    is_coded = schema.precision in {"int8", "binary"}
    copy = schema.rescore if is_coded else schema.precision
    body: dict[str, Any] = {
        "vectors": {
            "size": schema.dimensions,
            "distance": _DISTANCES[schema.metric],
            "datatype": _DATATYPES[copy],
        },
        "shard_number": shards,
    }
    if schema.precision == "int8":
        body["quantization_config"] = {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}
    elif schema.precision == "binary":
        body["quantization_config"] = {"binary": {"always_ram": True}}
    return body
