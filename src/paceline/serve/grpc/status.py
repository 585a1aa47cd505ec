"""Which gRPC status an error becomes. The stable code comes first in the details, and alone in the trailing metadata."""

from __future__ import annotations

from typing import Final

import grpc

from paceline.base.errors import (
    DeadlineExceeded,
    FolderInUse,
    InvalidRequest,
    NotFound,
    NotLive,
    PacelineError,
    RateLimited,
    Rejected,
    StorageDamaged,
    StorageFull,
    Unauthorised,
    Unreachable,
)

CODE_KEY: Final = "paceline-code"
PARAM_KEY: Final = "paceline-param"
RETRY_KEY: Final = "retry-after-ms"

STATUS: Final[dict[type[PacelineError], grpc.StatusCode]] = {
    PacelineError: grpc.StatusCode.INTERNAL,
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotLive: grpc.StatusCode.FAILED_PRECONDITION,
    Unauthorised: grpc.StatusCode.UNAUTHENTICATED,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Rejected: grpc.StatusCode.UNAVAILABLE,
    RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    StorageFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StorageDamaged: grpc.StatusCode.DATA_LOSS,
    FolderInUse: grpc.StatusCode.UNAVAILABLE,
    Unreachable: grpc.StatusCode.UNAVAILABLE,
}
"""A class that is not here has its parent's."""


def status_of(error: PacelineError) -> grpc.StatusCode:
    """Its gRPC status."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def details_of(error: PacelineError) -> str:
    """`CODE: MESSAGE`."""
    return f"{error.code}: {error.message}"


def trailing_of(error: PacelineError) -> tuple[tuple[str, str], ...]:
    """What programs read: code, the field at fault, and when to come again."""
    trailing = [(CODE_KEY, error.code)]
    if error.param is not None:
        trailing.append((PARAM_KEY, error.param.encode("ascii", "replace").decode()))
    if isinstance(error, Rejected):
        trailing.append((RETRY_KEY, f"{error.retry_after_s * 1e3:.0f}"))
    return tuple(trailing)
