"""One TCP connection, plain or TLS, that never blocks and tells when the kernel received what it hands over."""

from __future__ import annotations

import errno
import socket
import ssl
import sys
from contextlib import suppress
from struct import Struct
from typing import Any

from paceline.measure.load.request import Address

SO_TIMESTAMPNS = 35
"""Linux; Python has no name for it."""
ANCILLARY_BYTES = 64
READ_BYTES = 65_536
_TIMESPEC = Struct("qq")
HAS_KERNEL_TIMESTAMPS = sys.platform == "linux"

Resolved = tuple[int, Any]
"""Address family and socket address, resolved once before the run."""


def received_at_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Wall-clock nanoseconds at which the kernel received the last piece; 0 when it did not say."""
    for _, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return 0


def resolve(address: Address) -> Resolved:
    """The first address of the name; raises OSError."""
    family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    return family, where


def open_socket(resolved: Resolved, *, kernel_timestamps: bool) -> tuple[socket.socket, int]:
    """A socket that is connecting (or connected), and the error number if it already failed, else 0."""
    family, where = resolved
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kernel_timestamps:
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    code = made.connect_ex(where)
    return made, 0 if code in {0, errno.EINPROGRESS} else code


def tls_context(*, insecure: bool, ca_file: str | None) -> ssl.SSLContext:
    """Verifies certificates unless `insecure`; raises OSError when `ca_file` cannot be read."""
    context = ssl.create_default_context(cafile=ca_file)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsLink:
    """TLS over a non-blocking socket, with the calls of a socket that the engine uses.

    `recvmsg` and `recv` raise BlockingIOError while there is nothing to hand over yet; `send` takes everything and
    keeps what the socket would not (`pending`).
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        self._raw = raw
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._unsent = b""

    @property
    def pending(self) -> bool:
        """Whether encrypted bytes still wait for the socket."""
        return bool(self._unsent) or self._outgoing.pending > 0

    def handshake(self) -> bool:
        """Go on with it; True when it is done. Raises ssl.SSLError or OSError."""
        with suppress(BlockingIOError):
            self._pump_in()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        self.flush()
        return True

    def recvmsg(
        self, size: int, ancillary_bytes: int
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        """As of a socket: decrypted bytes and the ancillary data of the piece that completed them."""
        data, ancillary, _, _ = self._raw.recvmsg(size, ancillary_bytes)
        return self._decrypted(data), ancillary, 0, None

    def recv(self, size: int) -> bytes:
        """As of a socket."""
        return self._decrypted(self._raw.recv(size))

    def send(self, data: bytes) -> int:
        """Encrypt and send; always takes all of it."""
        self._tls.write(data)
        self.flush()
        return len(data)

    def flush(self) -> None:
        """Send what is encrypted, as far as the socket takes it."""
        waiting = self._unsent + self._outgoing.read()
        if waiting:
            with suppress(BlockingIOError):
                waiting = waiting[self._raw.send(waiting) :]
        self._unsent = waiting

    def _pump_in(self) -> None:
        data = self._raw.recv(READ_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _decrypted(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._incoming.write(data)
        pieces = []
        try:
            while piece := self._tls.read(READ_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return b"".join(pieces)
        if self._outgoing.pending:
            self.flush()
        if not pieces:
            raise BlockingIOError
        return b"".join(pieces)
