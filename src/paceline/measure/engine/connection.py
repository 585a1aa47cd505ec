"""One keep-alive connection and the request that is on it."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

from paceline.measure.engine.framing import MAX_HEAD_BYTES, Framing, Malformed, Template, template_of
from paceline.measure.engine.link import (
    ANCILLARY_BYTES,
    READ_BYTES,
    Resolved,
    TlsLink,
    open_socket,
    received_at_ns,
)
from paceline.measure.engine.poller import READ, WRITE, Poller
from paceline.measure.failure import Failure

CLOSED, CONNECTING, HANDSHAKE, IDLE, SENDING, AWAITING = range(6)
MAX_BODY_BYTES = 1 << 30

_NOBODY_LISTENS = {errno.ECONNREFUSED}

Chunks = list[tuple[int, bytes]]
"""What came, and when: monotonic nanoseconds."""


@dataclass(slots=True)
class Wiring:
    """What all connections of a worker share."""

    poller: Poller
    ready: dict[int, Callable[[int], None]]
    """Called with the events of the descriptor."""
    resolved: Resolved
    context: ssl.SSLContext | None
    server_name: str
    kernel: bool
    """Ask the kernel when an answer came."""
    keep: bool
    """Keep the bytes of answers for reading them later."""
    clock_offset_ns: int = field(default_factory=lambda: time.time_ns() - monotonic_ns())
    template: Template | None = None
    answered: Callable[[Connection, int, int], None] = field(init=False)
    """(connection, last byte at, status): the answer is whole and the connection can take the next request."""
    failed: Callable[[Connection, Failure, int], None] = field(init=False)
    """(connection, why, when): there will be no answer; the connection is closed."""
    settled: Callable[[Connection], None] = field(init=False)
    """A connection without a request is open now, or was closed by the server."""


class Connection:
    """Opened on its first request, reused while the server lets it, opened again after that."""

    __slots__ = (
        "_framing",
        "_recv",
        "_recvmsg",
        "_send",
        "_socket",
        "_tls",
        "_unsent",
        "_wiring",
        "chunks",
        "fd",
        "first_ns",
        "index",
        "intended_ns",
        "payload",
        "sent_ns",
        "size",
        "stage",
        "started_ns",
        "state",
        "used",
        "user",
    )

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._socket: socket.socket | None = None
        self._tls: TlsLink | None = None
        self._framing: Framing | None = None
        self._unsent = b""
        self._recv: Any = None
        self._recvmsg: Any = None
        self._send: Any = None
        self.fd = -1
        self.state = CLOSED
        self.used = False
        """Whether the present socket has brought a whole answer."""
        self.user: Any = None
        self.index = self.stage = 0
        self.intended_ns = self.started_ns = self.sent_ns = self.first_ns = 0
        self.payload = b""
        self.size = 0
        self.chunks: Chunks = []

    # --- a request -------------------------------------------------------------------------------------------

    def request(self, index: int, stage: int, intended_ns: int, payload: bytes) -> None:
        """Send a request, connecting first where needed."""
        self.index = index
        self.stage = stage
        self.intended_ns = intended_ns
        self.payload = payload
        self.size = 0
        self.started_ns = now_ns = monotonic_ns()
        if self.state == IDLE:
            self._start_sending(now_ns)
        else:
            self.first_ns = self.sent_ns = -1
            self.open()

    def open(self) -> None:
        """Connect; goes on by itself as soon as the socket is ready."""
        wiring = self._wiring
        try:
            self._socket, code = open_socket(wiring.resolved, kernel_timestamps=wiring.kernel)
        except OSError:  # no descriptors or ports are left
            self._fail(Failure.UNREACHABLE)
            return
        self.fd = self._socket.fileno()
        wiring.ready[self.fd] = self.ready
        self.used = False
        if code:
            wiring.poller.add(self.fd, 0)
            self._fail(_of_errno(code))
            return
        self.state = CONNECTING
        wiring.poller.add(self.fd, WRITE)

    def _start_sending(self, now_ns: int) -> None:
        self.sent_ns = now_ns
        self.first_ns = -1
        self.state = AWAITING
        payload = self.payload
        try:
            sent = self._send(payload)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._fail(Failure.RESET)
            return
        if sent != len(payload) or (self._tls is not None and self._tls.pending):
            self._unsent = payload[sent:]
            self.state = SENDING
            self._wiring.poller.change(self.fd, READ | WRITE)

    # --- events ----------------------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """The socket has something for us."""
        if self.state != AWAITING:
            self._other(events)
            return
        wiring = self._wiring
        try:
            if wiring.kernel:
                data, ancillary, _, _ = self._recvmsg(READ_BYTES, ANCILLARY_BYTES)
                stamp = received_at_ns(ancillary)
                at_ns = stamp - wiring.clock_offset_ns if stamp else monotonic_ns()
            else:
                data = self._recv(READ_BYTES)
                at_ns = monotonic_ns()
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(Failure.TLS if isinstance(error, ssl.SSLError) else Failure.RESET)
            return
        template = wiring.template
        if template is not None and not self.size and (data == template.data or template.fits(data)):
            self.first_ns = at_ns
            self.size = len(data)
            self.used = True
            self.state = IDLE
            if wiring.keep:
                self.chunks = [(at_ns, data)]
            wiring.answered(self, at_ns, template.status)
            return
        self._take(data, at_ns)

    def _take(self, data: bytes, at_ns: int) -> None:
        """The general way: any piece of any answer."""
        framing = self._framing
        if framing is None:
            framing = self._framing = Framing()
        if not data:
            self._closed_by_server(framing, at_ns)
            return
        if not self.size:
            self.first_ns = at_ns
            self.chunks = []
        alone = not self.size
        self.size += len(data)
        if self._wiring.keep:
            self.chunks.append((at_ns, data))
        try:
            whole = framing.feed(data)
        except Malformed:
            self._fail(Failure.MALFORMED)
            return
        if whole:
            if alone:
                self._wiring.template = template_of(data, framing) or self._wiring.template
            self._whole(framing, at_ns)
        elif (self.size > MAX_HEAD_BYTES and framing.head_is_open()) or self.size > MAX_BODY_BYTES:
            self._fail(Failure.TOO_LARGE)

    def _whole(self, framing: Framing, at_ns: int) -> None:
        status = framing.status
        self.used = True
        self.state = IDLE
        if framing.keep_alive and not framing.excess:
            framing.next()
        else:
            self.close()
        self._wiring.answered(self, at_ns, status)

    def _closed_by_server(self, framing: Framing, at_ns: int) -> None:
        if self.size and framing.ends_by_close():
            self._whole(framing, at_ns)
        else:
            self._fail(Failure.CLOSED)

    def _other(self, events: int) -> None:
        if self.state == SENDING:
            if events & READ:  # an early answer, or an end
                self._stop_writing()
                self.state = AWAITING
                self.ready(events)
            else:
                self._send_rest()
        elif self.state == IDLE:  # nothing is due: the server closed, or said something unasked
            self.close()
            self._wiring.settled(self)
        elif (
            self.state == CONNECTING and events & ~READ
        ):  # a descriptor's late news of its last owner is not ours
            self._connected()
        elif self.state == HANDSHAKE:
            self._shake()

    def _send_rest(self) -> None:
        try:
            if self._tls is not None:
                self._tls.flush()
                if not self._tls.pending:
                    self._unsent = b""
            else:
                self._unsent = self._unsent[self._send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._fail(Failure.RESET)
            return
        if not self._unsent:
            self._stop_writing()
            self.state = AWAITING

    def _stop_writing(self) -> None:
        self._unsent = b""
        self._wiring.poller.change(self.fd, READ)

    def _connected(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(_of_errno(code))
            return
        wiring = self._wiring
        wiring.poller.change(self.fd, READ)
        if wiring.context is not None:
            self._tls = TlsLink(self._socket, wiring.context, wiring.server_name)
            self.state = HANDSHAKE
            self._shake()
        else:
            self._use(self._socket)

    def _shake(self) -> None:
        assert self._tls is not None
        try:
            done = self._tls.handshake()
        except OSError:
            self._fail(Failure.TLS)
            return
        if done:
            self._use(self._tls)

    def _use(self, link: Any) -> None:
        self._recv = link.recv
        self._recvmsg = link.recvmsg
        self._send = link.send
        self.state = IDLE
        if self.payload:
            self._start_sending(monotonic_ns())
        else:
            self._wiring.settled(self)

    # --- the end ---------------------------------------------------------------------------------------------

    def _fail(self, failure: Failure) -> None:
        at_ns = monotonic_ns()
        stale = self.used and not self.size and failure in {Failure.RESET, Failure.CLOSED}
        self.close()
        if stale:
            # The server closed an idle connection just as we used it: every client sends again on a new one.
            self.first_ns = self.sent_ns = -1
            self.open()
            return
        self._wiring.failed(self, failure, at_ns)

    def time_out(self) -> None:
        """Give up on the request."""
        never_connected = self.state in {CONNECTING, HANDSHAKE}
        self.close()
        self._wiring.failed(self, Failure.UNREACHABLE if never_connected else Failure.TIMEOUT, monotonic_ns())

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        if self._socket is not None:
            if self.fd in self._wiring.ready:
                self._wiring.poller.drop(self.fd)
                del self._wiring.ready[self.fd]
            self._socket.close()
        if self._framing is not None:
            self._framing.release()
        self._socket = self._tls = self._framing = None
        self._recv = self._recvmsg = self._send = None
        self._unsent = b""
        self.fd = -1
        self.state = CLOSED


def _of_errno(code: int) -> Failure:
    return Failure.REFUSED if code in _NOBODY_LISTENS else Failure.UNREACHABLE
