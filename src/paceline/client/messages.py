"""Requests and replies as bytes: what the blocking and the asynchronous client have in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import httpx
import msgspec
import numpy as np
import numpy.typing as npt

from paceline.base.api import EmbedReply, EmbedRequest, EmbedUsage, ModelCard, ModelList, Priority, Problem
from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    PacelineError,
    PayloadTooLarge,
    RateLimited,
    Unauthorised,
    Unreachable,
    all_errors,
    error_of_code,
)
from paceline.base.timings import Timings

T = TypeVar("T")

POOL = httpx.Limits(max_connections=256, max_keepalive_connections=256)
"""Connections of one client; all are kept, since opening one costs more than a cached answer."""

Tokens = Sequence[int] | Sequence[Sequence[int]] | npt.NDArray[np.integer[Any]]


class Embeddings(msgspec.Struct, frozen=True):
    """Vectors of one call, in the order of its inputs, and what the server said about them."""

    vectors: npt.NDArray[np.float32]
    """Shape (inputs, dimensions); read-only."""
    model: str
    usage: EmbedUsage
    truncated: list[int]
    """Indices of inputs that were cut to the model's window."""
    timings: Timings
    """Where the server's time went."""
    request_id: str


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One HTTP exchange: what to send and how to read the answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    content: bytes | None = None
    once: bool = False
    """Not to be sent again once it may have arrived."""

    def is_lost(self, error: httpx.TransportError) -> bool:
        """Whether nobody knows what became of it, so that another try could do harm."""
        return self.once and not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))


class Address(msgspec.Struct, frozen=True):
    """Where the server is: an HTTP address, or a unix socket."""

    url: str
    uds: str | None = None

    @classmethod
    def parse(cls, base_url: str) -> Address:
        """Read `http://host:port[/prefix]`, `https://...` or `unix:///path`. Raises ConfigError."""
        scheme, separator, rest = base_url.partition("://")
        if separator and rest and scheme == "unix":
            return cls("http://localhost", uds=rest)
        if not (separator and rest and scheme in {"http", "https"}):
            raise ConfigError(
                f"base_url = {base_url!r}: expected http://host:port, https://host:port or unix:///path/of/socket"
            )
        return cls(base_url.rstrip("/"))

    def __str__(self) -> str:
        return f"unix://{self.uds}" if self.uds else self.url


def default_headers(token: str | None) -> dict[str, str]:
    """Sent with every request. Base64 of floats does not compress: decompressing costs more than it saves."""
    headers = {
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": "paceline-client",
    }
    return {**headers, "authorization": f"Bearer {token}"} if token else headers


def deadline_header(left_s: float) -> dict[str, str]:
    """Tells the server when the answer is no longer wanted."""
    return {"x-request-timeout-ms": str(max(1, int(left_s * 1e3)))}


def embed_call(  # noqa: PLR0913 - the fields of the request
    texts: str | Sequence[str] | None,
    tokens: Tokens | None,
    *,
    model: str | None,
    dimensions: int | None,
    truncate: bool,
    priority: Priority,
) -> Call[Embeddings]:
    """Ask for vectors as base64, which costs a sixth of a list of floats. Raises InvalidRequest."""
    if (texts is None) == (tokens is None):
        raise InvalidRequest("give either texts or tokens", param="input")
    wanted = 1
    given: Any = texts
    if tokens is not None:
        given = [
            [int(token) for token in row] if isinstance(row, (Sequence, np.ndarray)) else int(row)
            for row in tokens
        ]
    elif not isinstance(texts, str):
        given = list(texts or ())
    if isinstance(given, list) and not (given and isinstance(given[0], int)):
        wanted = len(given)
    if not wanted:
        raise InvalidRequest("no input; give at least one text", param="input")
    request = EmbedRequest(
        input=given,
        model=model,
        encoding_format="base64",
        dimensions=dimensions,
        truncate=truncate,
        priority=priority,
    )
    return Call(
        "POST", "/v1/embeddings", lambda response: _embeddings(response, wanted), msgspec.json.encode(request)
    )


def models_call() -> Call[list[ModelCard]]:
    """Ask which models are served."""
    return Call("GET", "/v1/models", lambda response: decode(response, ModelList).data)


def health_call() -> Call[dict[str, Any]]:
    """Ask for the state of engines, breakers and cache tiers; an unhealthy server's answer is an answer too."""

    def read(response: httpx.Response) -> dict[str, Any]:
        ill = response.status_code == 503 and response.headers.get("content-type", "").startswith(
            "application/json"
        )
        return decode(response, dict[str, Any], refuse=not ill)

    return Call("GET", "/health", read)


def metrics_call() -> Call[str]:
    """Ask for the metrics in Prometheus' text format."""

    def read(response: httpx.Response) -> str:
        refuse_failure(response)
        return response.text

    return Call("GET", "/metrics", read)


def unreachable(address: Address, error: httpx.TransportError, timeout_s: float) -> PacelineError:
    """Our error for one of the transport's."""
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(
            f"no answer from {address} within {timeout_s:g} s; give a longer timeout_s, or less work"
        )
    return Unreachable(
        f"cannot reach {address}: {str(error) or type(error).__name__}; is `paceline serve` running there?"
    )


def _embeddings(response: httpx.Response, wanted: int) -> Embeddings:
    reply = decode(response, EmbedReply)
    rows = [
        np.frombuffer(base64.b64decode(item.embedding), dtype="<f4")
        if isinstance(item.embedding, str)
        else np.asarray(item.embedding, dtype=np.float32)
        for item in sorted(reply.data, key=lambda item: item.index)
    ]
    if len(rows) != wanted:
        raise _foreign(response, f"{len(rows)} vectors for {wanted} inputs")
    vectors = np.stack(rows)
    vectors.flags.writeable = False
    return Embeddings(
        vectors=vectors,
        model=reply.model,
        usage=reply.usage,
        truncated=reply.truncated,
        timings=parse_timings(response.headers.get("server-timing", "")),
        request_id=response.headers.get("x-request-id", ""),
    )


def parse_timings(header: str) -> Timings:
    """The inverse of `Timings.server_timing`; what the header does not say stays 0."""
    durations = {name: float(ms) / 1e3 for name, ms in re.findall(r"(\w+);dur=([\d.]+)", header)}
    tier = re.search(r'cache;desc="(miss|l1|l2|l3|flight|bypass)"', header)
    rows = re.search(r'desc="(\d+) rows"', header)
    return msgspec.convert(
        {
            "tokenize_s": durations.get("tok", 0.0),
            "queue_s": durations.get("queue", 0.0),
            "batch_wait_s": durations.get("wait", 0.0),
            "run_s": durations.get("run", 0.0),
            "total_s": durations.get("total", 0.0),
            "batch_rows": int(rows[1]) if rows else 0,
            "cache": tier[1] if tier else "miss",
        },
        Timings,
    )


def decode(response: httpx.Response, kind: type[T], *, refuse: bool = True) -> T:
    """A reply's body; raises the error that it describes instead, or ConfigError for a foreign server's."""
    if refuse:
        refuse_failure(response)
    try:
        return msgspec.json.decode(response.content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _foreign(response, str(error)) from error


def _foreign(response: httpx.Response, what: str) -> ConfigError:
    return ConfigError(
        f"{response.url} does not answer as a Paceline server does ({what}); check base_url", param="base_url"
    )


def refuse_failure(response: httpx.Response) -> None:
    """Raise the error that a reply describes, if it does."""
    if response.is_success:
        return
    retry_after_s = _seconds(response.headers)
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Somebody between us and the server refused.
        message = f"{response.url} answered {response.status_code} {response.reason_phrase} without details"
        error = _of_status(response.status_code, message, retry_after_s)
    else:
        if problem.retry_after_s is not None:
            retry_after_s = problem.retry_after_s
        if any(kind.code == problem.code for kind in all_errors()):
            error = error_of_code(
                problem.code, problem.detail, param=problem.param, retry_after_s=retry_after_s
            )
        else:
            error = _of_status(problem.status, problem.detail, retry_after_s)
    if request_id := response.headers.get("x-request-id"):
        error.add_note(f"request id {request_id}")
    raise error


def _seconds(headers: Mapping[str, str]) -> float:
    """`Retry-After` in seconds; its other spelling, a date, is not one our servers use and counts as absent."""
    value = headers.get("retry-after", "")
    return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else 0.0


def _of_status(status: int, message: str, retry_after_s: float) -> PacelineError:
    """The nearest error for a failure whose code we do not know, or that has none."""
    if status == 429:
        return RateLimited(message, retry_after_s=retry_after_s)
    if status in {502, 503, 504}:
        return Unreachable(message)
    kinds = {401: Unauthorised, 403: Unauthorised, 404: NotFound, 413: PayloadTooLarge}
    return kinds.get(status, InvalidRequest if status < 500 else PacelineError)(message)
