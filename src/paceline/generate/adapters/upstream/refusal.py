"""What an upstream's failure means to our caller: its replies and its connection's faults as our errors."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import msgspec

from paceline.base.errors import (
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PacelineError,
    PayloadTooLarge,
)

_SHOWN: Final = 300
"""Characters of a foreign page that go into our message."""


class _Told(msgspec.Struct):
    """OpenAI's `error`."""

    message: str = ""
    param: str | None = None
    code: str | int | None = None


class _Reply(msgspec.Struct):
    error: _Told | str | None = None
    detail: Any = None


def of_reply(status: int, headers: httpx.Headers, content: bytes) -> PacelineError:
    """Our error for a reply that is none of the 2xx."""
    try:
        reply = msgspec.json.decode(content, type=_Reply)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        reply = _Reply(detail=content[:_SHOWN].decode("utf-8", "replace"))
    told = reply.error if isinstance(reply.error, _Told) else _Told(reply.error or str(reply.detail or ""))
    return _of_status(status, told, _retry_after_s(headers))


def of_event(content: bytes) -> PacelineError | None:
    """Our error for an event that reports a failure after the stream began, None for any other event."""
    try:
        told = msgspec.json.decode(content, type=_Reply).error
    except msgspec.MsgspecError:
        return None
    if told is None:
        return None
    told = _Told(told) if isinstance(told, str) else told
    status = told.code if isinstance(told.code, int) and 400 <= told.code < 600 else 500
    return _of_status(status, told, None)


def of_transport(error: httpx.HTTPError, url: str, timeout_s: float) -> PacelineError:
    """Our error for a connection that failed, broke, or was silent for too long."""
    if isinstance(error, httpx.PoolTimeout):
        return Overloaded(f"every connection to the upstream {url} is in use; try again", retry_after_s=1.0)
    if isinstance(error, httpx.ConnectTimeout):
        return EngineError(
            f"no connection to the upstream {url} in time; is it running (generate.upstream.url)?"
        )
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(
            f"the upstream {url} was silent for {timeout_s:g} s; give it longer (generate.upstream.timeout_s), or less work"
        )
    return EngineError(
        f"cannot reach the upstream {url}: {str(error) or type(error).__name__}; is it running (generate.upstream.url)?"
    )


def _of_status(status: int, told: _Told, retry_after_s: float | None) -> PacelineError:
    message = f"the upstream answers {status}: {told.message or 'without a message'}"
    if status == 429 or (status == 503 and retry_after_s is not None):
        return Overloaded(
            message, retry_after_s=1.0 if retry_after_s is None else retry_after_s, param=told.param
        )
    if status in {401, 403}:
        # Ours, not our caller's: it must not be told that its own token is wrong.
        return EngineError(f"{message}; check generate.upstream.key")
    if status == 408:
        return DeadlineExceeded(message)
    if status == 404:
        return NotFound(message, param=told.param)
    if status == 413 or told.code == "context_length_exceeded":
        return PayloadTooLarge(message, param=told.param)
    if 400 <= status < 500:
        return InvalidRequest(message, param=told.param)
    return EngineError(message)


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """`Retry-After`, in seconds or as a date; None when absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
