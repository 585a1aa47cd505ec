"""Texts in what is asked of collections: made vectors by the embedding service of this server."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from paceline.base.api import EmbedRequest
from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import CreateCollection, DescribeCollection
from paceline.base.vectors_records import Query, Search, Upsert, VectorItem
from paceline.embed.result import EmbedResult
from paceline.serve.embeddings import Embedder
from paceline.serve.metrics import Metrics

_INPUT: Final = re.compile(r"\binput(?:\[(?P<place>\d+)\])?")
"""How an embedding service names a text at fault."""


class Texts:
    """Belongs to all routes of vectors of one process."""

    def __init__(self, embedders: Mapping[str, Embedder], metrics: Metrics) -> None:
        self._embedders = embedders
        self._metrics = metrics

    def hit(self, search: Search) -> Query | None:
        """What a search comes to if its text needs no model, or its vector is in memory. NotFound."""
        if search.mode == "words":
            return _query(search, None)
        result = self._embedder(search.model).hit(_request(search))
        if result is None:
            return None
        self._metrics.embedded(result)
        return _query(search, result)

    async def query(self, search: Search, *, deadline_at: float) -> Query:
        """The same, with the model's help. NotFound, and all that an embedding service raises."""
        query = self.hit(search)
        if query is not None:
            return query
        result = await self._embedder(search.model).embed(_request(search), deadline_at=deadline_at)
        self._metrics.embedded(result)
        return _query(search, result)

    async def upsert(self, upsert: Upsert, *, deadline_at: float) -> Upsert:
        """`upsert` with the vectors of its texts, all embedded at once; their texts stay, for the collection to keep."""
        places = [
            place
            for place, item in enumerate(upsert.vectors)
            if item.values is None and item.text is not None
        ]
        if not places:
            return upsert
        texts: list[Any] = [upsert.vectors[place].text for place in places]
        try:
            result = await self._embedder(None).embed(EmbedRequest(input=texts), deadline_at=deadline_at)
        except InvalidRequest as error:
            raise _as_item(error, places) from None
        self._metrics.embedded(result)
        vectors = list(upsert.vectors)
        for place, octets in zip(places, result.vectors, strict=True):
            item = vectors[place]
            vectors[place] = VectorItem(item.id, _base64(octets), item.metadata, item.text)
        return msgspec.structs.replace(upsert, vectors=vectors)

    def collection(self, create: CreateCollection) -> CreateCollection:
        """`create` with the dimension of the model, where it leaves that to it."""
        if create.dimension:
            return create
        model = next(iter(self._embedders.values()), None)
        dimension = None if model is None else model.card().dimensions
        if dimension is None:
            raise InvalidRequest(
                "dimension is 0, that of the embedding model, and no model embeds here; send the dimension, or set "
                "embed.model",
                param="dimension",
            )
        return msgspec.structs.replace(create, dimension=dimension)

    async def misfit(
        self, error: InvalidRequest, collection: str, vectors: VectorService, *, deadline_at: float
    ) -> InvalidRequest:
        """`error`, of a vector that a model made; where the model does not fit the collection, a clearer one."""
        card = await vectors.answer(DescribeCollection(collection=collection), deadline_at=deadline_at)
        for name, model in self._embedders.items():
            dimensions = model.card().dimensions
            if dimensions is not None and dimensions != card.dimension:
                return InvalidRequest(
                    f"model {name!r} makes vectors of {dimensions} numbers, those of collection {card.name!r} have "
                    f"{card.dimension}; serve the model that the collection was made with (embed.model), or make a "
                    f"collection of dimension {dimensions}",
                    param="text",
                )
        return error

    def _embedder(self, name: str | None) -> Embedder:
        embedder = next(iter(self._embedders.values()), None) if name is None else self._embedders.get(name)
        if embedder is not None:
            return embedder
        if self._embedders:
            known = ", ".join(map(repr, self._embedders))
            raise NotFound(
                f"model {name!r} does not embed here; there is {known} (see /v1/models)", param="model"
            )
        raise NotFound(
            "no model embeds texts here; set embed.model, or send vectors, or search by words (mode)",
            param="text",
        )


def _request(search: Search) -> EmbedRequest:
    return EmbedRequest(input=search.text, model=search.model)


def _query(search: Search, result: EmbedResult | None) -> Query:
    return Query(
        collection=search.collection,
        vector=None if result is None else _base64(result.vectors[0]),
        text=None if search.mode == "vector" else search.text,
        top_k=search.top_k,
        filter=search.filter,
        namespace=search.namespace,
        include_values=search.include_values,
        include_metadata=search.include_metadata,
        ef=search.ef,
        candidates=search.candidates,
        exact=search.exact,
        weights=search.weights,
    )


def _base64(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).decode()


def _as_item(error: InvalidRequest, places: list[int]) -> InvalidRequest:
    """An error of an embedding request, which names `input[n]`, as one of the items that were sent."""

    def item(found: re.Match[str]) -> str:
        place = found["place"]
        return "vectors" if place is None else f"vectors[{places[int(place)]}].text"

    return type(error)(_INPUT.sub(item, error.message), param=_INPUT.sub(item, error.param or "") or None)
