"""One trace: when texts arrive, how long they are, and which of them are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from paceline.base.errors import ConfigError

MAX_GAP_S = 30.0
"""A silence longer than this is a hole in the record, not load: every replay would pay for it and show nothing."""


@dataclass(frozen=True, eq=False)
class Workload:
    """Texts in order of arrival, one entry of each array a text; read-only.

    Raises ConfigError for what cannot be, and for a trace with gaps (`MAX_GAP_S`).
    """

    arrive_s: npt.NDArray[np.float64]
    """Instants, ascending from 0; the texts of one request arrive together."""
    length: npt.NDArray[np.int32]
    """Tokens, at least 1."""
    key: npt.NDArray[np.int32]
    """Same key, same text."""
    request: npt.NDArray[np.int32]
    """Number of the request a text belongs to: 0, 1, 2 ..., each of one text or more."""
    duration_s: float
    """How long the trace lasts: the last arrival, or later."""

    def __post_init__(self) -> None:
        for name, kind in (
            ("arrive_s", np.float64),
            ("length", np.int32),
            ("key", np.int32),
            ("request", np.int32),
        ):
            array = np.array(getattr(self, name), dtype=kind)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check_shape()
        self._check_time()
        self._check_requests()

    @classmethod
    def from_requests(
        cls,
        arrive_s: Sequence[float] | npt.NDArray[np.float64],
        lengths: Sequence[int] | npt.NDArray[np.int32],
        keys: Sequence[int] | npt.NDArray[np.int32] | None = None,
        duration_s: float | None = None,
    ) -> Workload:
        """Requests of one text each. Without `keys` all texts differ; without `duration_s` one mean gap follows the last."""
        arrive = np.asarray(arrive_s, dtype=np.float64)
        number = np.arange(len(arrive), dtype=np.int32)
        if duration_s is None and len(arrive):
            last = float(arrive[-1])
            duration_s = last + (last / (len(arrive) - 1) if len(arrive) > 1 and last > 0 else 1.0)
        return cls(
            arrive,
            np.asarray(lengths, dtype=np.int32),
            number if keys is None else np.asarray(keys, dtype=np.int32),
            number,
            duration_s or 0.0,
        )

    @property
    def texts(self) -> int:
        """How many texts."""
        return len(self.arrive_s)

    @property
    def requests(self) -> int:
        """How many requests."""
        return int(self.request[-1]) + 1

    @property
    def rate(self) -> float:
        """Requests per second offered."""
        return self.requests / self.duration_s

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Index of the first text of each request, and one past the last text."""
        return np.searchsorted(self.request, np.arange(self.requests + 1))

    def faster(self, factor: float) -> Workload:
        """The same texts at `factor` times the rate."""
        if not 0 < factor < float("inf"):
            raise ConfigError(f"a rate factor of {factor} makes no trace; give a number above 0")
        return Workload(self.arrive_s / factor, self.length, self.key, self.request, self.duration_s / factor)

    def head(self, requests: int) -> Workload:
        """The first `requests` requests, until the next one arrives; all when there are no more."""
        if requests < 1:
            raise ConfigError(f"the first {requests} requests are no trace; keep at least 1")
        if requests >= self.requests:
            return self
        end = int(self.starts[requests])
        # Where the next comes in the same instant, the part would last no time at all.
        lasts_s = max(float(self.arrive_s[end]), self.duration_s * requests / self.requests * 1e-3)
        return Workload(self.arrive_s[:end], self.length[:end], self.key[:end], self.request[:end], lasts_s)

    def _check_shape(self) -> None:
        texts = len(self.arrive_s)
        shapes = [array.shape for array in (self.arrive_s, self.length, self.key, self.request)]
        if shapes != [(texts,)] * 4:
            raise ConfigError(
                f"arrivals, lengths, keys and requests of a trace have shapes {shapes}; give one of each a text"
            )
        if not texts:
            raise ConfigError("the trace is empty; record or generate at least one request")

    def _check_time(self) -> None:
        arrive = self.arrive_s
        if not np.isfinite(arrive).all() or arrive[0] < 0:
            text = int(np.flatnonzero(~np.isfinite(arrive) | (arrive < 0))[0])
            raise ConfigError(
                f"text {text} arrives at {arrive[text]} s; times are seconds since the start of the trace"
            )
        gaps = np.diff(arrive)
        if (gaps < 0).any():
            text = int(np.argmax(gaps < 0)) + 1
            raise ConfigError(
                f"text {text} arrives at {arrive[text]} s, before the one ahead of it at {arrive[text - 1]} s; "
                "sort the trace by time"
            )
        if not arrive[-1] <= self.duration_s < float("inf") or self.duration_s <= 0:
            raise ConfigError(
                f"the trace lasts {self.duration_s} s and its last text arrives at {arrive[-1]} s; "
                "give a duration above 0 that holds all of it"
            )
        silent_s = np.diff(arrive, prepend=0.0, append=self.duration_s)
        longest = int(np.argmax(silent_s))
        if silent_s[longest] > MAX_GAP_S:
            raise ConfigError(
                f"the trace has a gap of {silent_s[longest]:.1f} s before text {longest} ({MAX_GAP_S:.0f} s at "
                "most); cut it there, or take the silence out"
            )

    def _check_requests(self) -> None:
        if self.length.min() < 1:
            text = int(np.argmin(self.length))
            raise ConfigError(f"text {text} has {self.length[text]} tokens; a text has at least 1")
        steps = np.diff(self.request, prepend=-1)
        if self.request[0] != 0 or ((steps != 0) & (steps != 1)).any():
            text = 0 if self.request[0] != 0 else int(np.flatnonzero((steps != 0) & (steps != 1))[0])
            raise ConfigError(
                f"text {text} belongs to request {self.request[text]}; number requests 0, 1, 2 ... without a gap"
            )
        apart = (steps[1:] == 0) & (np.diff(self.arrive_s) > 0)
        if apart.any():
            text = int(np.argmax(apart)) + 1
            raise ConfigError(
                f"text {text} of request {self.request[text]} arrives after the text ahead of it; the texts of one "
                "request arrive together"
            )
