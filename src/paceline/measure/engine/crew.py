"""The worker processes of a run, as their parent sees them."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from paceline.measure.engine.tally import News
from paceline.measure.engine.worker import END, STOP, Task, run_worker

_decode = msgspec.msgpack.Decoder(News).decode


@dataclass(slots=True)
class _Member:
    pid: int
    news_fd: int
    orders_fd: int
    buffer: bytearray = field(default_factory=bytearray)


class Crew:
    """Start it, `listen` until nobody is left, and `close` it whatever happens."""

    def __init__(self, task: Task) -> None:
        """Forks the workers; call it before any thread is started."""
        self._members: dict[int, _Member] = {}
        self._poll = select.poll()
        self.broken = 0
        """Workers that ended otherwise than by themselves."""
        sys.stdout.flush()
        sys.stderr.flush()
        for worker in range(task.plan.workers):
            self._start(task, worker)

    def _start(self, task: Task, worker: int) -> None:
        news_in, news_out = os.pipe()
        orders_in, orders_out = os.pipe()
        os.set_blocking(news_out, False)
        os.set_blocking(news_in, False)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(news_in)
                os.close(orders_out)
                for other in self._members.values():  # or the pipes of the others would never end
                    os.close(other.orders_fd)
                    os.close(other.news_fd)
                run_worker(task, worker, news_out, orders_in)
                code = 0
            finally:
                os._exit(code)
        os.close(news_out)
        os.close(orders_in)
        self._members[news_in] = _Member(pid, news_in, orders_out)
        self._poll.register(news_in, select.POLLIN | select.POLLHUP)

    @property
    def working(self) -> bool:
        """Whether a worker is left."""
        return bool(self._members)

    def listen(self, seconds: float) -> list[News]:
        """What workers told, waiting at most so long for the first of it."""
        told: list[News] = []
        for fd, _ in self._poll.poll(seconds * 1e3):
            member = self._members[fd]
            piece = os.read(fd, 1 << 16)
            member.buffer += piece
            while len(member.buffer) >= 4:
                length = int.from_bytes(member.buffer[:4], "little")
                if len(member.buffer) < 4 + length:
                    break
                told.append(_decode(bytes(member.buffer[4 : 4 + length])))
                del member.buffer[: 4 + length]
            if not piece:
                self._dismiss(member)
        return told

    def stop(self, because: str) -> None:
        """No new requests; the answers are awaited."""
        self._order(STOP, because)

    def end(self, because: str) -> None:
        """End now; what is in flight is forgotten."""
        self._order(END, because)

    def close(self, patience_s: float = 5.0) -> None:
        """End whoever is left, killing those who do not listen."""
        self.end("the run was closed")
        until = time.monotonic() + patience_s
        while self._members and time.monotonic() < until:
            self.listen(0.1)
        for member in list(self._members.values()):
            os.kill(member.pid, signal.SIGKILL)
            self._dismiss(member)

    def _order(self, order: str, because: str) -> None:
        line = f"{order} {' '.join(because.split())}\n".encode()
        for member in self._members.values():
            with suppress(BrokenPipeError):  # it is ending by itself
                os.write(member.orders_fd, line)

    def _dismiss(self, member: _Member) -> None:
        self._poll.unregister(member.news_fd)
        del self._members[member.news_fd]
        os.close(member.news_fd)
        os.close(member.orders_fd)
        _, status = os.waitpid(member.pid, 0)
        self.broken += status != 0
