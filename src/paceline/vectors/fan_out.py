"""Calls of many shards at once, and the threads that wait for them: `Lane`, `each`, `every`.

What ails one shard costs only its part: results come by shard, and beside them the shards that have none, with reasons.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from paceline.base.errors import InvalidRequest, NotFound, Unreachable
from paceline.vectors.shard import Shard

T = TypeVar("T")
Call = Callable[[Shard], T]

MOST_AT_ONCE: Final = 8
"""Calls of one shard that run; a shard that hangs costs this many threads and no more."""
MOST_WAITING: Final = 256
"""Calls of one shard that wait for one of these to end; one that is given up waits no longer."""


class Lane:
    """Calls of one shard, each on a thread; refuses when too many are under way."""

    def __init__(self, name: str, shard: Shard) -> None:
        self.name = name
        self.shard = shard
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix=f"shard-{name}")
        self._free = threading.Semaphore(MOST_AT_ONCE + MOST_WAITING)

    def start(self, call: Call[T]) -> Future[T]:
        """Run `call` with the shard. What it raises, and Unreachable if the shard is too far behind, is in the future."""
        if not self._free.acquire(blocking=False):
            return _failed(
                Unreachable(
                    f"shard {self.name!r} has {MOST_AT_ONCE + MOST_WAITING} calls under way and takes no more"
                )
            )
        try:
            started = self._threads.submit(call, self.shard)
        except RuntimeError:  # shut down by `close`
            self._free.release()
            return _failed(Unreachable(f"shard {self.name!r} is closed; open the collection again"))
        started.add_done_callback(lambda _: self._free.release())
        return started

    def close(self) -> None:
        """Close the shard. Does not wait for calls that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.shard.close()


def _failed(error: Unreachable) -> Future[T]:
    refused: Future[T] = Future()
    refused.set_exception(error)
    return refused


def each(
    lanes: Mapping[str, Lane],
    calls: Mapping[str, Call[T]],
    timeout_s: float | None,
) -> tuple[dict[str, T], dict[str, str]]:
    """Results by shard, and why the others have none. What is the caller's fault is raised.

    Without a `timeout_s` it waits as long as it takes.
    """
    running = {name: lanes[name].start(call) for name, call in calls.items()}
    wait(running.values(), timeout_s)
    found, missing = dict[str, T](), dict[str, str]()
    fault: Exception | None = None
    for name, future in running.items():
        if not future.done():
            future.cancel()
            missing[name] = "no answer in time"
            continue
        try:
            found[name] = future.result()
        except (InvalidRequest, NotFound) as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - whatever ails one shard must not cost the others' parts
            missing[name] = str(error) or type(error).__name__
    if fault is not None:
        raise fault
    return found, missing


def every(
    lanes: Mapping[str, Lane], call: Call[T], timeout_s: float | None
) -> tuple[dict[str, T], dict[str, str]]:
    """The same call of all shards: see `each`. Unreachable if none answers."""
    found, missing = each(lanes, dict.fromkeys(lanes, call), timeout_s)
    if not found:
        raise Unreachable(f"no shard answers: {told(missing)}")
    return found, missing


def whole(lanes: Mapping[str, Lane], call: Call[T], timeout_s: float | None = None) -> dict[str, T]:
    """The same call of all shards, all of which must answer. Unreachable names those that do not."""
    found, missing = every(lanes, call, timeout_s)
    if missing:
        raise Unreachable(told(missing))
    return found


def close_all(lanes: Mapping[str, Lane]) -> None:
    """Close the shards, all at once; the first error of one is raised when all are closed."""
    with ThreadPoolExecutor(max(1, len(lanes)), thread_name_prefix="shards-close") as threads:
        closing = [threads.submit(lane.close) for lane in lanes.values()]
    for future in closing:
        future.result()


def left_s(deadline_at: float) -> float:
    """Seconds until an instant of `time.monotonic`; 0 after it."""
    return max(0.0, deadline_at - time.monotonic())


def told(missing: Mapping[str, str]) -> str:
    """The shards that are missing, in a sentence."""
    return "; ".join(f"shard {name!r} is missing ({why})" for name, why in sorted(missing.items()))
