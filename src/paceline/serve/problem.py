"""Which HTTP status an error becomes, and its body: RFC 9457 problem details with OpenAI's `error` inside."""

from __future__ import annotations

import msgspec

from paceline.base.api import Problem
from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    FolderInUse,
    InvalidRequest,
    LeaseHeld,
    LeaseUnknown,
    NotFound,
    NotLive,
    OutOfMemory,
    Overloaded,
    PacelineError,
    PayloadTooLarge,
    RateLimited,
    Rejected,
    SettingRefused,
    StorageDamaged,
    StorageError,
    StorageFull,
    TrialFailed,
    Unauthorised,
    Unreachable,
)


class MethodNotAllowed(InvalidRequest):
    """The path exists, the method on it does not."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.allowed = allowed
        """Value of the `Allow` header."""


class UnsupportedMedia(InvalidRequest):
    """The body is of a type or in a content coding that we do not read."""

    code = "unsupported_media_type"


STATUS: dict[type[PacelineError], int] = {
    PacelineError: 500,
    ConfigError: 500,
    InvalidRequest: 400,
    PayloadTooLarge: 413,
    MethodNotAllowed: 405,
    UnsupportedMedia: 415,
    SettingRefused: 400,
    NotLive: 409,
    Unauthorised: 401,
    NotFound: 404,
    LeaseUnknown: 404,
    Rejected: 503,
    LeaseHeld: 409,
    RateLimited: 429,
    Overloaded: 503,
    CircuitOpen: 503,
    DeadlineExceeded: 504,
    # 500, not 502: the engine is a part of this server, not a peer behind it.
    EngineError: 500,
    OutOfMemory: 500,
    StorageError: 500,
    StorageFull: 507,
    StorageDamaged: 500,
    FolderInUse: 409,
    TrialFailed: 500,
    # Met in a worker process whose engine process is away or being restarted.
    Unreachable: 503,
}
"""Every class of the tree stands here; a test walks it."""

TITLE: dict[int, str] = {
    400: "The request is wrong",
    401: "A valid bearer token is needed",
    404: "There is nothing here by that name",
    405: "The path does not take this method",
    409: "The server's state does not allow it",
    413: "The request is larger than a limit",
    415: "The body is of a type this server does not read",
    429: "A rate limit is used up",
    500: "The server failed",
    503: "The server cannot take the request now",
    504: "The deadline passed",
    507: "The store has no room for the write",
}

CLIENT_LEFT = 499
"""Status in metrics and logs of calls whose caller hung up; nobody reads the reply."""

_OPENAI_TYPE = {401: "authentication_error", 429: "rate_limit_error"}
_encode = msgspec.json.Encoder().encode


def status_of(error: PacelineError) -> int:
    """The HTTP status of an error; a class not in the table has its parent's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: PacelineError, request_id: str) -> Problem:
    """The body of an error reply."""
    status = status_of(error)
    kind = _OPENAI_TYPE.get(status, "invalid_request_error" if status < 500 else "server_error")
    return Problem(
        type=f"/docs#{error.code}",
        title=TITLE[status],
        status=status,
        detail=error.message,
        code=error.code,
        request_id=request_id,
        param=error.param,
        retry_after_s=round(error.retry_after_s, 3) if isinstance(error, Rejected) else None,
        error={"message": error.message, "type": kind, "param": error.param, "code": error.code},
    )


def problem_body(error: PacelineError, request_id: str) -> bytes:
    """`problem` as JSON."""
    return _encode(problem(error, request_id))
