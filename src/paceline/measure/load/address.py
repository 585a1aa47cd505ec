"""Where a URL points."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from paceline.base.errors import ConfigError
from paceline.measure.plan import Target, Task

_PORTS: Final = {"http": 80, "https": 443}
_PATHS: Final = {
    "embeddings": "/v1/embeddings",
    "completions": "/v1/completions",
    "chat": "/v1/chat/completions",
    "vectors": "/v1/vectors/query",
}
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Address:
    """Where to connect, and what to ask there."""

    host: str
    """Name or IP address, as the resolver takes it; without brackets."""
    port: int
    tls: bool
    path: str
    """With the query, as it goes over the wire."""
    server_name: str
    """Whom the certificate must name."""

    @property
    def host_header(self) -> str:
        """The value of `Host`: with brackets for IPv6, without the usual port or an interface."""
        name = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return name if self.port == _PORTS["https" if self.tls else "http"] else f"{name}:{self.port}"


def address(target: Target, task: Task = "http") -> Address:
    """Where `target.url` points; an AI task has its usual path where the URL has none, or ends with `/v1`.

    Raises ConfigError for everything that is not a URL of an HTTP server.
    """
    parts = _split(target.url)
    host = parts.hostname or ""
    name = host.partition("%")[0]
    if ":" in host:
        _check_ipv6(target.url, name)
    elif not host.isascii():
        try:
            host = name = host.encode("idna").decode()
        except UnicodeError as error:
            raise _wrong(target.url, f"its host name cannot be ({error})") from None
    if ":" not in host and not _HOST.fullmatch(host):
        raise _wrong(target.url, "it has no host name" if not host else f"{host!r} is no host name")
    port = _port(target.url, parts)
    return Address(host, port, parts.scheme == "https", default_path(target.url, task), name)


def default_path(url: str, task: Task) -> str:
    """Path and query of `url`; of the task where the URL has no path, or only the `/v1` of an OpenAI base URL."""
    parts = _split(url)
    path = parts.path
    usual = _PATHS.get(task)
    if usual is not None and path.rstrip("/").rpartition("/")[2] in {"", "v1"}:
        path = path.rstrip("/").removesuffix("/v1") + usual
    return quoted(f"{path or '/'}{'?' if parts.query else ''}{parts.query}")


def quoted(path: str) -> str:
    """What a path and query may hold stays as it is; everything else is percent-encoded as UTF-8."""
    return quote(path, safe="/?#[]@!$&'()*+,;=:%~-._")


def _split(url: str) -> SplitResult:
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise _wrong(url, "it has blanks or control characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(url, f"{error}".lower()) from None
    if "://" not in url:
        raise _wrong(url, f"it has no scheme; write http://{url}")
    if parts.scheme not in _PORTS:
        raise _wrong(url, f"{parts.scheme}:// is not measured; http:// and https:// are")
    if "@" in parts.netloc:
        # Without the URL: it holds a password.
        raise ConfigError(
            "the URL has a user name before @; send it as a header, Authorization: Basic ...",
            param="target.url",
        )
    if parts.fragment or url.endswith("#"):
        raise _wrong(url, "what follows # is never sent; leave it out")
    return parts


def _port(url: str, parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        return _PORTS[parts.scheme]
    if not port:
        raise _wrong(url, "its port is not a number from 1 to 65535")
    return port


def _check_ipv6(url: str, name: str) -> None:
    try:
        IPv6Address(name)
    except ValueError:
        raise _wrong(url, f"{name!r} is no IPv6 address") from None


def _wrong(url: str, what: str) -> ConfigError:
    return ConfigError(f"{url!r} cannot be measured: {what}", param="target.url")
