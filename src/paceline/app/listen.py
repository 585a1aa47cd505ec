"""The listening socket: opened before anything heavy, so that a taken port is said at once."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
from pathlib import Path

from paceline.base.errors import ConfigError
from paceline.serve.policy import ServePolicy


def open_socket(policy: ServePolicy) -> socket.socket:
    """Bind, but do not listen yet; raises ConfigError naming the setting and the way out."""
    if policy.uds:
        return _unix_socket(Path(policy.uds))
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            policy.host, policy.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            f"serve.host = {policy.host!r}: {error.strerror or error}; give an address of this host, e.g. 127.0.0.1"
        ) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(_reason(policy, error)) from None
    listener.set_inheritable(True)
    return listener


def _reason(policy: ServePolicy, error: OSError) -> str:
    where = f"serve.port = {policy.port} on {policy.host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another process listens there; stop it, or choose another with --set serve.port=N (0 takes a free one)"
    if error.errno == errno.EACCES:
        return f"{where}: ports below 1024 need privileges; choose a higher one with --set serve.port=N"
    return f"{where}: {error.strerror}; see serve.host and serve.port"


def _unix_socket(path: Path) -> socket.socket:
    """A unix socket at `path`; the leftover of a dead server is replaced, a living one or another file is not."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ConfigError(f"serve.uds = {str(path)!r} is a file, not a socket; choose another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise ConfigError(
                    f"serve.uds = {str(path)!r}: another process listens there; choose another path"
                )
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"serve.uds = {str(path)!r}: {error.strerror}; choose a short path in a folder you may write"
        ) from None
    listener.set_inheritable(True)
    return listener


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """How to reach the socket, for the line printed at the start."""
    if listener.family == socket.AF_UNIX:
        return f"unix://{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - shown, not bound
    return f"{'https' if tls else 'http'}://{host}:{port}"
