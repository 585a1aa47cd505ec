"""When which connection sends what: the open loop follows the schedule, the closed loop follows its users.

A source is asked at `next_ns` and whenever a connection becomes free; it never waits and never looks at a clock.
Instants are monotonic nanoseconds. Worker w of W sends the requests w, w + W, w + 2 W, ... of the schedule, so the
schedule is the same for any number of workers.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from paceline.measure.engine.connection import IDLE, Connection, Wiring
from paceline.measure.engine.poller import FOREVER_NS
from paceline.measure.load.schedule import Schedule

REST_NS = 100_000_000
"""A user who could not connect tries again after this long."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a schedule is whose, and when it begins."""

    schedule: Schedule
    payloads: Sequence[bytes]
    worker: int
    workers: int
    start_ns: int
    """Monotonic."""


class Source(Protocol):
    """What the generator asks."""

    next_ns: int
    """When `due` must be called next."""
    connections: list[Connection]

    def due(self, now_ns: int) -> None:
        """Begin every request whose time has come."""

    def free(self, connection: Connection, now_ns: int) -> None:
        """A request is over, well or not; the connection may take another."""

    def settled(self, connection: Connection) -> None:
        """A connection without a request opened or was closed."""

    def stop(self) -> None:
        """Begin no more requests."""

    def waiting(self) -> int:
        """Requests that are due and have no connection."""


class OpenSource:
    """Requests leave on time, each on an idle connection or a new one; without either they wait, and that shows."""

    def __init__(
        self, share: Share, wiring: Wiring, *, max_connections: int, late: Callable[[int], None]
    ) -> None:
        """`late` is told how many ns after its intended start each request began."""
        schedule = share.schedule
        self._at_ns = schedule.at_ns
        self._stage = schedule.stage
        self._request = schedule.request
        self._payloads = share.payloads
        self._wiring = wiring
        self._start_ns = share.start_ns
        self._workers = share.workers
        self._max = max_connections
        self._late = late
        self._position = share.worker
        self._end = len(schedule.at_ns)
        self._idle: list[Connection] = []
        self._waiting: deque[int] = deque()
        self.connections: list[Connection] = []
        self.next_ns = share.start_ns + self._at_ns[share.worker] if share.worker < self._end else FOREVER_NS

    def due(self, now_ns: int) -> None:
        """See `Source`."""
        while self.next_ns <= now_ns:
            position = self._position
            self._begin(position)
            position += self._workers
            self._position = position
            self.next_ns = self._start_ns + self._at_ns[position] if position < self._end else FOREVER_NS

    def _begin(self, position: int) -> None:
        if self._idle:
            connection = self._idle.pop()
        elif len(self.connections) < self._max:
            connection = Connection(self._wiring)
            self.connections.append(connection)
        else:
            self._waiting.append(position)
            return
        self._send(connection, position)

    def _send(self, connection: Connection, position: int) -> None:
        intended_ns = self._start_ns + self._at_ns[position]
        connection.request(
            position, self._stage[position], intended_ns, self._payloads[self._request[position]]
        )
        self._late(connection.started_ns - intended_ns)

    def free(self, connection: Connection, now_ns: int) -> None:  # noqa: ARG002 - see `Source`
        """See `Source`."""
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def preconnect(self, count: int) -> None:
        """Open connections before the start, so that the first requests need not."""
        for _ in range(min(count, self._max)):
            connection = Connection(self._wiring)
            self.connections.append(connection)
            connection.open()

    def settled(self, connection: Connection) -> None:
        """See `Source`: an idle one that was closed stays in the pool and will connect again."""
        if connection.state == IDLE and connection not in self._idle:
            self._idle.append(connection)

    def stop(self) -> None:
        """See `Source`."""
        self.next_ns = FOREVER_NS
        self._waiting.clear()

    def waiting(self) -> int:
        """See `Source`."""
        return len(self._waiting)


class ClosedSource:
    """Users with a connection each."""

    def __init__(self, share: Share, wiring: Wiring) -> None:
        schedule, start_ns = share.schedule, share.start_ns
        self._payloads = share.payloads
        self._wiring = wiring
        self._step = share.workers
        self._distinct = len(share.payloads)
        self._think_ns = schedule.think_ns
        self._next_index = share.worker
        self._end = schedule.requests if schedule.requests is not None else FOREVER_NS
        self._stage_ends_ns = [start_ns + end for end in schedule.stage_ends_ns]
        self._staged = len(self._stage_ends_ns) > 1
        users = schedule.users[share.worker :: share.workers]
        self._stops_ns = [start_ns + user.stop_ns for user in users]
        self._begins = [(start_ns + user.start_ns, number) for number, user in enumerate(users)]
        heapq.heapify(self._begins)
        """(when, user): who starts or has thought."""
        self._connection_of: dict[int, Connection] = {}
        self.connections: list[Connection] = []
        self.next_ns = self._begins[0][0] if self._begins else FOREVER_NS

    def due(self, now_ns: int) -> None:
        """See `Source`."""
        begins = self._begins
        while begins and begins[0][0] <= now_ns:
            at_ns, user = heapq.heappop(begins)
            self._send(self._connection(user), at_ns)
        self.next_ns = begins[0][0] if begins else FOREVER_NS

    def _connection(self, user: int) -> Connection:
        connection = self._connection_of.get(user)
        if connection is None:
            connection = self._connection_of[user] = Connection(self._wiring)
            connection.user = user
            self.connections.append(connection)
        return connection

    def _send(self, connection: Connection, intended_ns: int) -> None:
        index = self._next_index
        if index >= self._end:
            return
        if intended_ns >= self._stops_ns[connection.user]:
            connection.close()
            return
        self._next_index = index + self._step
        stage = bisect_right(self._stage_ends_ns, intended_ns) if self._staged else 0
        connection.request(index, stage, intended_ns, self._payloads[index % self._distinct])

    def free(self, connection: Connection, now_ns: int) -> None:
        """See `Source`."""
        think = self._think_ns
        if not think and (connection.used or connection.size):
            self._send(connection, now_ns)
            return
        pause_ns = think[connection.index % len(think)] if think else REST_NS
        heapq.heappush(self._begins, (now_ns + pause_ns, connection.user))
        self.next_ns = self._begins[0][0]

    def settled(self, connection: Connection) -> None:
        """See `Source`: the user connects again with the next request."""

    def stop(self) -> None:
        """See `Source`."""
        self._end = 0
        self._begins.clear()
        self.next_ns = FOREVER_NS

    def waiting(self) -> int:
        """See `Source`."""
        return 0
