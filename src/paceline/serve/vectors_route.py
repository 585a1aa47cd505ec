"""One operation on vectors on one path: the whole way of a request in one function, and the quick way of a hit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from paceline.base.errors import InvalidRequest, NotFound, Rejected
from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import CreateCollection
from paceline.base.vectors_records import Queried, Query, Search, Upsert
from paceline.serve.call import JSON, MSGPACK, TIER, Call, Told
from paceline.serve.compress import compress, negotiate
from paceline.serve.decode import Decoder, check_size, invalid, read_body
from paceline.serve.departure import unless_left
from paceline.serve.entrance import Entrance
from paceline.serve.http_protocol import Header, Reply
from paceline.serve.metrics import Metrics
from paceline.serve.pinecone_indexes import CreateIndex
from paceline.serve.vectors_metrics import VectorMetrics
from paceline.serve.vectors_table import Operation
from paceline.serve.vectors_texts import Texts

_VARY = (b"vary", b"accept, accept-encoding")
_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode


class VectorParts(msgspec.Struct, frozen=True):
    """What all routes of vectors share."""

    vectors: VectorService | None
    """None: vectors are off, and every route says so."""
    texts: Texts
    entrance: Entrance
    routes: Metrics
    metrics: VectorMetrics


class VectorRoute:
    """Answers one operation. `name` is the collection that the path names, empty where it names none."""

    def __init__(self, operation: Operation, path: str, parts: VectorParts) -> None:
        """`path` is the template, which the metrics know it by."""
        self.operation = operation
        self._path = path
        self._parts = parts
        self._entrance = parts.entrance
        self._decode = Decoder(operation.asked).decode

    async def answer(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """Authorise -> rate limit -> read and decode -> memory -> embed texts -> service -> encode."""
        entrance = self._entrance
        call = Call.of(entrance, self._parts.routes.route(self._path), scope, send)
        try:
            await call.admit()
            deadline_at = call.deadline_at(self.operation.timeout_s)
            body = await read_body(receive, call.headers, entrance.policy.max_body_bytes)
            if call.found is None:
                reads_query = scope["method"] != "POST"
                asked = self._from_query(scope) if reads_query else self._from_body(body, call.headers)
                call.found = self._find(asked, name)
            asked, answer = call.found
            cached = answer is not None
            if not cached:
                answer = await unless_left(receive, self._ask(asked, deadline_at))
            self._count(call, asked, answer, cached=cached)
            if self.operation.tell is not None:
                answer = self.operation.tell(answer, _base(scope, call.headers))
            await self._reply(call, answer, cached=cached)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the caller gets a problem
            await call.fail(error)

    def quick(
        self,
        headers: Mapping[bytes, bytes],
        body: bytes,
        client: tuple[str, int] | None,
        came_at: float,
        place: tuple[str, str],
    ) -> tuple[Reply | None, Call | None]:
        """The same path without a stop: authorise -> rate limit -> decode -> memory -> encode.

        `place` is the path and the collection that it names. Without a reply, `answer` goes on with the call and
        repeats nothing that counts.
        """
        path, name = place
        call = Call(self._entrance, self._parts.routes.route(self._path), headers, client, came_at)
        call.path = path
        try:
            if not call.admit_nowait():
                return None, call
            call.deadline_at(self.operation.timeout_s)
            check_size(len(body), self._entrance.policy.max_body_bytes)
            asked, answer = call.found = self._find(self._from_body(body, headers), name)
            if answer is None:
                return None, call
            content, told, algorithm = self._encoded(call, answer, cached=True)
            if algorithm is not None:
                return None, call
            self._count(call, asked, answer, cached=True)
            return (200, call.whole_headers(200, content, told), content), None
        except Rejected as error:  # under overload this is most of what is said, so it is said at once
            status, content, told = call.problem(error)
            return (status, call.whole_headers(status, content, told), content), None
        except Exception as error:  # noqa: BLE001 - whatever it is, `admit` raises it again and the caller is told
            call.failure = error
            return None, call

    # -- what is asked ----------------------------------------------------------------------------------------

    def _from_body(self, body: bytes, headers: Mapping[bytes, bytes]) -> Any:
        """An empty body asks what an empty object does."""
        return self._decode(body, headers) if body else self._from_fields({})

    def _from_query(self, scope: Scope) -> Any:
        """Of `ids=a&ids=b&limit=5`: a field that is a list takes all its values, another one."""
        fields: dict[str, Any] = {}
        for key, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            if key == "ids":
                fields.setdefault(key, []).append(value)
            elif key in fields:
                raise InvalidRequest(f"{key} is sent twice in the query; send it once", param=key)
            else:
                fields[key] = value
        return self._from_fields(fields)

    def _from_fields(self, fields: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(fields, self.operation.asked, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(error) from None

    def _find(self, asked: Any, name: str) -> tuple[Any, Queried | None]:
        """What is asked, of the collection that the path names, and the answer if it is in memory."""
        vectors = self._service()
        if isinstance(asked, CreateIndex):
            asked = asked.asked()
        elif name:
            asked = _named(asked, name)
        if not self.operation.quick:
            return asked, None
        query = asked if isinstance(asked, Query) else self._parts.texts.hit(asked)
        if query is None:
            return asked, None
        return query, vectors.hit(query)

    def _service(self) -> VectorService:
        """NotFound where vectors are off."""
        if self._parts.vectors is None:
            raise NotFound(
                "vectors are off here; set vectors.folder (paceline serve --vectors FOLDER)",
                param="vectors.folder",
            )
        return self._parts.vectors

    # -- what is answered -------------------------------------------------------------------------------------

    async def _ask(self, asked: Any, deadline_at: float) -> Any:
        vectors, texts = self._service(), self._parts.texts
        if isinstance(asked, Upsert):
            asked = await texts.upsert(asked, deadline_at=deadline_at)
        elif isinstance(asked, CreateCollection):
            asked = texts.collection(asked)
        elif isinstance(asked, Search):
            asked = await texts.query(asked, deadline_at=deadline_at)
        try:
            return await vectors.answer(asked, deadline_at=deadline_at)
        except InvalidRequest as error:
            if self.operation.asked is not Search or not (error.param or "").startswith("vector"):
                raise
            raise await texts.misfit(error, asked.collection, vectors, deadline_at=deadline_at) from None

    def _count(self, call: Call, asked: Any, answer: Any, *, cached: bool) -> None:
        self._parts.metrics.answered(
            self.operation.name, answer, time.monotonic() - call.started_at, cached=cached
        )
        if self._entrance.access_log is not None:
            call.told = Told(
                rows=len(asked.vectors) if isinstance(asked, Upsert) else None,
                tier="l1" if cached else None,
            )

    async def _reply(self, call: Call, answer: Any, *, cached: bool) -> None:
        body, told, algorithm = self._encoded(call, answer, cached=cached)
        if algorithm is not None:
            body = await compress(body, algorithm)
            told.append((b"content-encoding", algorithm.encode()))
        await call.reply(200, body, *told)

    def _encoded(self, call: Call, answer: Any, *, cached: bool) -> tuple[bytes, list[Header], str | None]:
        """The body, its headers, and the algorithm to compress it with."""
        told = [(b"server-timing", b"total;dur=%.3f" % ((time.monotonic() - call.started_at) * 1e3))]
        if cached:
            told.append(TIER["l1"])
        if call.wants_msgpack:
            return _msgpack(answer), [MSGPACK, *told], None
        body = _json(answer)
        compression = self._entrance.compression
        if len(body) < compression.min_bytes or not compression.enabled:
            return body, [JSON, *told], None
        accepted = call.headers.get(b"accept-encoding", b"")
        return body, [JSON, _VARY, *told], negotiate(accepted, compression.algorithms)


def _named(asked: Any, name: str) -> Any:
    """`asked` of the collection `name`. InvalidRequest if it says another."""
    if asked.collection and asked.collection != name:
        raise InvalidRequest(
            f"the path names collection {name!r}, the request {asked.collection!r}; leave one out",
            param="collection",
        )
    msgspec.structs.force_setattr(asked, "collection", name)  # just decoded: nobody else has it
    return asked


def _base(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """How the caller reached this server."""
    return f"{scope.get('scheme', 'http')}://{headers.get(b'host', b'localhost').decode('latin-1')}"
