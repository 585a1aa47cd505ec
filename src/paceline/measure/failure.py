"""Why a request did not get a good answer: a short closed list, so that a report can count by kind."""

from __future__ import annotations

from enum import IntEnum


class Failure(IntEnum):
    """Stored as one byte in the records; the names, in lower case, stand in reports."""

    NONE = 0
    REFUSED = 1
    """Nobody listens there."""
    UNREACHABLE = 2
    """No route, no such name, or no connection in time."""
    RESET = 3
    """The server reset the connection."""
    CLOSED = 4
    """The server closed before the answer was whole."""
    TIMEOUT = 5
    """No whole answer within the request's time."""
    MALFORMED = 6
    """What came is not HTTP."""
    TOO_LARGE = 7
    """A head above 64 KiB or a body above the limit."""
    STATUS = 8
    """A whole answer with a status that was not expected."""
    NOT_JSON = 9
    """A good status, but the body is not the JSON (or event stream) it should be."""
    STREAM = 10
    """A stream that ended without its end, or told of an error on the way."""
    TLS = 11
    """The handshake failed."""
    UNSENT = 12
    """The run ended before its turn came, though it was due: the generator or its connection limit was short."""

    @property
    def label(self) -> str:
        """As reports show it."""
        return self.name.lower()
