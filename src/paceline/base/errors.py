"""The error tree. `code` is stable and public; `retryable` says whether the same call may succeed later.

PacelineError
├── ConfigError            a setting, file or flag is wrong
├── InvalidRequest         the caller's input is wrong
│   ├── PayloadTooLarge    ... or larger than a limit
│   ├── SettingRefused     a setting of a running server cannot have this value
│   └── NotLive            a setting that only a restart changes
├── Unauthorised           no token, or a wrong one
├── NotFound               no such model, route or item
│   └── LeaseUnknown       no lease on the settings by this id, or it is over
├── Rejected               refused now, may succeed later (`retry_after_s`)
│   ├── LeaseHeld          somebody else's settings are on trial
│   ├── RateLimited        a quota is used up
│   ├── Overloaded         the queue is full or the predicted wait is longer than the deadline
│   └── CircuitOpen        the engine behind the breaker is failing
├── DeadlineExceeded       the caller's time is over
├── EngineError            the model failed; the breaker counts these only
│   └── OutOfMemory        ... for want of memory; the same work in smaller pieces may succeed
├── StorageError           files of a store cannot be read or written
│   ├── StorageFull        ... for want of room; the same write succeeds once there is some
│   ├── StorageDamaged     ... because their content is not what was written
│   └── FolderInUse        another process, or another object of this one, has the store open
├── TrialFailed            a setting could not be tried on a server
└── Unreachable            no connection to the server, or it went away before it answered
"""

from __future__ import annotations

from typing import ClassVar


class PacelineError(Exception):
    """Base of all our errors. The message holds the value, the limit and the way out, in one line."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The request field or setting at fault, e.g. `input[3]` or `embed.batch.max_cost`."""


class ConfigError(PacelineError):
    """A setting, file or flag is wrong; the command line exits with 2."""

    code = "invalid_setting"


class InvalidRequest(PacelineError):  # noqa: N818 - names say what happened, as in the wire codes
    """The caller's input is wrong and will be as wrong next time."""

    code = "invalid_request"


class PayloadTooLarge(InvalidRequest):
    """The input is well-formed but larger than a limit."""

    code = "payload_too_large"


class SettingRefused(InvalidRequest):
    """A setting of a running server cannot have this value, or there is no such setting."""

    code = "setting_refused"


class NotLive(InvalidRequest):
    """A setting that only a restart of the server can change."""

    code = "not_live"


class Unauthorised(PacelineError):  # noqa: N818
    """No bearer token, or one that we do not know."""

    code = "unauthorised"


class NotFound(PacelineError):  # noqa: N818
    """No such model, route or item."""

    code = "not_found"


class LeaseUnknown(NotFound):
    """There is no lease on the settings by this id: it is over, was kept or reverted, or never was."""

    code = "lease_unknown"


class Rejected(PacelineError):  # noqa: N818
    """Refused now without doing work; may succeed after `retry_after_s` seconds."""

    code = "rejected"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class LeaseHeld(Rejected):
    """The settings are on trial under a lease that the caller did not name."""

    code = "lease_held"


class RateLimited(Rejected):
    """A quota of this caller is used up."""

    code = "rate_limited"


class Overloaded(Rejected):
    """The queue is full, or the predicted wait is longer than the caller can wait."""

    code = "overloaded"


class CircuitOpen(Rejected):
    """The engine behind the breaker is failing; it will be probed again after `retry_after_s`."""

    code = "circuit_open"


class DeadlineExceeded(PacelineError):  # noqa: N818
    """The caller's time was over before the answer was ready."""

    code = "deadline_exceeded"
    retryable = True


class EngineError(PacelineError):
    """The model failed on input that was valid."""

    code = "engine_error"
    retryable = True


class OutOfMemory(EngineError):  # noqa: N818
    """The model ran out of memory; half the batch may fit."""

    code = "out_of_memory"


class StorageError(PacelineError):
    """Files of a store could not be read or written; what was acknowledged before is not touched by it."""

    code = "storage_error"


class StorageFull(StorageError):  # noqa: N818
    """No room for a write: it was not done, and succeeds once there is room."""

    code = "storage_full"
    retryable = True


class StorageDamaged(StorageError):  # noqa: N818
    """A file holds something else than was written to it."""

    code = "storage_damaged"


class FolderInUse(StorageError):  # noqa: N818
    """Another process, or another object of this one, has the store's folder open."""

    code = "folder_in_use"
    retryable = True


class TrialFailed(PacelineError):  # noqa: N818
    """A setting under tuning could not be tried: the server refused it, did not start with it, or died."""

    code = "trial_failed"


class Unreachable(PacelineError):  # noqa: N818
    """No connection to the server, or it went away before it answered."""

    code = "unreachable"
    retryable = True


def all_errors(root: type[PacelineError] = PacelineError) -> list[type[PacelineError]]:
    """`root` and every error below it, parents first."""
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def error_of_code(
    code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
) -> PacelineError:
    """The error that `code` names, made anew at the other end of a wire; unknown codes become PacelineError."""
    kind = next((error for error in all_errors() if error.code == code), PacelineError)
    if issubclass(kind, Rejected):
        return kind(message, retry_after_s=retry_after_s or 0.0, param=param)
    return kind(message, param=param)
