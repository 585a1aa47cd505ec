"""Whether a server that was just started takes requests."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import SplitResult, urljoin, urlsplit

from paceline.base.errors import ConfigError

ATTEMPT_TIMEOUT_S = 2.0
_PORTS = {"http": 80, "https": 443}


class Readiness:
    """Asks one server. `ready` is `tcp`, a path below `url`'s host, or a URL. Raises ConfigError for a wrong URL."""

    def __init__(self, url: str, ready: str = "tcp") -> None:
        self._server = _split(url)
        self._http = ready != "tcp"
        self._page = _split(urljoin(url, ready)) if self._http else self._server
        self.port = _port(self._server)

    def listening(self) -> bool:
        """Whether anybody takes connections at the server's port."""
        try:
            socket.create_connection((self._server.hostname, self.port), ATTEMPT_TIMEOUT_S).close()
        except OSError:
            return False
        return True

    def missing(self) -> str:
        """What keeps it from being ready, such as `/health answers 503`; empty when it is ready."""
        if not self._http:
            return "" if self.listening() else f"port {self.port} takes no connections"
        page = self._page.path or "/"
        link = self._connection()
        try:
            link.request("GET", f"{page}?{self._page.query}" if self._page.query else page)
            status = link.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"{page} does not answer ({error or type(error).__name__})"
        finally:
            link.close()
        return "" if status < 400 else f"{page} answers {status}"

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._page.hostname or "", _port(self._page)
        if self._page.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=ATTEMPT_TIMEOUT_S)
        anyone = ssl.create_default_context()
        anyone.check_hostname = False  # we started it ourselves; whom it names is for the requests to judge
        anyone.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=ATTEMPT_TIMEOUT_S, context=anyone)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"--url {url}: expected a URL such as http://127.0.0.1:8080", param="url")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]
