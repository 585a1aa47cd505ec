"""One worker's loop: begin what is due, read what came, keep rows, and read answers when nothing else is to be done."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paceline.measure.engine.answer import Reading, read_answer
from paceline.measure.engine.connection import (
    AWAITING,
    CONNECTING,
    HANDSHAKE,
    SENDING,
    Chunks,
    Connection,
    Wiring,
)
from paceline.measure.engine.poller import FOREVER_NS
from paceline.measure.engine.source import Source
from paceline.measure.engine.tally import Tally
from paceline.measure.failure import Failure
from paceline.measure.records.record import Row, Tier

FLUSH_NS = 10_000_000
"""Rows are written in small pieces: a large one would take longer than the next request may wait."""
TICK_EVERY = 10
"""Flushes to a tick."""
_STATUS = int(Failure.STATUS)
SLACK_NS = 300_000
"""Answers are read only when nothing is due for so long, until it is known how long reading one takes."""
BACKLOG = 4_096
BACKLOG_BYTES = 64 << 20
"""Answers kept unread; beyond either they are read at once, whatever it costs, and the lag shows it."""
IN_FLIGHT = {CONNECTING, HANDSHAKE, SENDING, AWAITING}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the generator must know of the plan."""

    start_ns: int
    """Monotonic; every instant in the rows counts from here."""
    timeout_ns: int
    limit_ns: int
    """Hard end of the run, monotonic."""
    statuses: frozenset[int]
    """Expected; empty is 200 to 299."""
    reading: Reading
    keep_alive: bool


class Keeper(Protocol):
    """Where the generator leaves what it has."""

    def keep(self, rows: list[Row], tokens: list[tuple[int, array[int]]]) -> None:
        """Finished requests, and (index, instants of the tokens) of those that were streamed."""

    def tick(self, now_ns: int, in_flight: int) -> None:
        """Ten times a second, with the number of requests that await an answer."""


class Generator:
    """Runs until its source has nothing left and every answer is in, or until it is told to end."""

    def __init__(self, rules: Rules, wiring: Wiring, tally: Tally, keeper: Keeper) -> None:
        self._rules = rules
        self._start_ns = rules.start_ns
        self._any_success = not rules.statuses
        self._closes = not rules.keep_alive
        self._poller = wiring.poller
        self._ready = wiring.ready
        self._wiring = wiring
        self._tally = tally
        self._keeper = keeper
        self._rows: list[Row] = []
        self._tokens: list[tuple[int, array[int]]] = []
        self._unread: deque[tuple[Row, Chunks]] = deque()
        self._unread_bytes = 0
        self._slack_ns = SLACK_NS
        self._source: Source
        self._free: Callable[[Connection, int], None]
        self._flushes = 0
        self.stopping = False
        self.ended: str | None = None
        """Set it to end at once; what is in flight is forgotten."""
        wiring.answered = self._answered
        wiring.failed = self._failed
        wiring.settled = self._settled
        self._ready[self._poller.alarm] = self._poller.rang

    def run(self, source: Source) -> None:
        """Carry out the source's requests."""
        self._source = source
        self._free = source.free
        ready = self._ready
        clock = time.monotonic_ns
        next_tick_ns = self._rules.start_ns
        while True:
            now_ns = clock()
            if source.next_ns <= now_ns:
                source.due(now_ns)
            if now_ns >= next_tick_ns:
                next_tick_ns = max(next_tick_ns + FLUSH_NS, now_ns)
                if self._on_tick(now_ns):
                    break
            until_ns = source.next_ns
            paced = until_ns != FOREVER_NS
            for fd, what in self._wait(min(until_ns, next_tick_ns)):
                take = ready.get(fd)
                if take is not None:  # closed by an event before it in this list
                    take(what)
                if paced and source.next_ns <= (now_ns := clock()):
                    source.due(now_ns)
        self._finish()

    def _wait(self, until_ns: int) -> list[tuple[int, int]]:
        """Events, reading answers while there are none and nothing will be due for a while."""
        unread = self._unread
        if not unread:
            return self._poller.poll(until_ns)
        while len(unread) > BACKLOG or self._unread_bytes > BACKLOG_BYTES:
            self._read_one()
        events = self._poller.poll(0)
        while not events and unread and until_ns - time.monotonic_ns() > self._slack_ns:
            self._read_one()
            events = self._poller.poll(0)
        return events or self._poller.poll(until_ns)

    def stop(self) -> None:
        """Send no more, but wait for the answers."""
        self.stopping = True
        self._source.stop()

    def _in_flight(self) -> list[Connection]:
        return [
            connection
            for connection in self._source.connections
            if connection.state in IN_FLIGHT and connection.payload
        ]

    # --- what connections tell --------------------------------------------------------------------------------

    def _answered(self, connection: Connection, at_ns: int, status: int) -> None:
        good = 200 <= status < 300 if self._any_success else status in self._rules.statuses
        start_ns = self._start_ns
        row = (
            connection.index,
            connection.stage,
            connection.intended_ns - start_ns,
            connection.sent_ns - start_ns,
            connection.first_ns - start_ns,
            at_ns - start_ns,
            status,
            0 if good else _STATUS,
            connection.size,
            -1,
            -1,
            0,
            0,
        )
        if good and self._wiring.keep:
            self._unread.append((row, connection.chunks))
            self._unread_bytes += connection.size
        else:
            self._rows.append(row)
        if self._closes:
            connection.close()
        self._free(connection, at_ns)

    def _failed(self, connection: Connection, failure: Failure, at_ns: int) -> None:
        if not connection.payload:  # opened ahead of the run; the request that needs it will tell
            self._source.settled(connection)
            return
        start_ns = self._start_ns
        self._rows.append(
            (
                connection.index,
                connection.stage,
                connection.intended_ns - start_ns,
                connection.sent_ns - start_ns if connection.sent_ns > 0 else -1,
                connection.first_ns - start_ns if connection.first_ns > 0 else -1,
                at_ns - start_ns,
                0,
                int(failure),
                connection.size,
                -1,
                -1,
                0,
                int(Tier.UNKNOWN),
            )
        )
        self._free(connection, at_ns)

    def _settled(self, connection: Connection) -> None:
        self._source.settled(connection)

    # --- besides ----------------------------------------------------------------------------------------------

    def _read_one(self) -> None:
        began_ns = time.monotonic_ns()
        row, chunks = self._unread.popleft()
        self._unread_bytes -= row[8]
        content = read_answer(chunks, self._rules.reading)
        read = (
            int(content.failure),
            row[8],
            content.prompt_tokens,
            content.completion_tokens,
            content.token_events,
            int(content.tier),
        )
        self._rows.append((*row[:7], *read))
        times_ns = content.token_times_ns
        if times_ns:
            start_ns = self._start_ns
            self._tokens.append((row[0], array("q", [at_ns - start_ns for at_ns in times_ns])))
        # Twice the longest of late, so that the next one fits into the time that is left.
        took_ns = time.monotonic_ns() - began_ns
        self._slack_ns = max(2 * took_ns, self._slack_ns - (self._slack_ns >> 6))

    def _on_tick(self, now_ns: int) -> bool:
        """Flush, now and then look after everything else; True when the run is over."""
        self._flush()
        self._flushes += 1
        if self._flushes % TICK_EVERY == 0:
            self._wiring.clock_offset_ns = time.time_ns() - time.monotonic_ns()
            in_flight = self._in_flight()
            self._time_out(now_ns, in_flight)
            self._keeper.tick(now_ns, len(in_flight))
        return self._over()

    def _flush(self) -> None:
        self._tally.count_late()
        if self._rows:
            self._tally.rows(self._rows)
            self._keeper.keep(self._rows, self._tokens)
            self._rows = []
            self._tokens = []

    def _time_out(self, now_ns: int, in_flight: list[Connection]) -> None:
        rules = self._rules
        if now_ns >= rules.limit_ns:
            for connection in in_flight:
                connection.time_out()
            self.stop()
            self.ended = self.ended or "time_limit"
            return
        oldest_ns = now_ns - rules.timeout_ns
        for connection in in_flight:
            if connection.started_ns < oldest_ns:
                connection.time_out()

    def _over(self) -> bool:
        if self.ended is not None:
            return True
        source = self._source
        return source.next_ns == FOREVER_NS and not source.waiting() and not self._in_flight()

    def _finish(self) -> None:
        while self._unread:
            self._read_one()
        self._flush()
        for connection in self._source.connections:
            connection.close()
