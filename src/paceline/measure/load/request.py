"""A request as the bytes that go over the wire, rendered once before the run."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from paceline import __version__
from paceline.base.errors import ConfigError
from paceline.measure.load.address import Address, address, quoted
from paceline.measure.load.bodies import bodies
from paceline.measure.load.trace import Trace
from paceline.measure.plan import Plan

__all__ = ["Address", "address", "requests", "serialise"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS: Final = {
    "content-length": "it is counted",
    "transfer-encoding": "bodies are sent whole",
    "connection": "keep_alive decides it",
    "expect": "requests are sent whole at once",
    "upgrade": "HTTP/1.1 is what is measured",
}
"""Headers that are not the user's to set, and why."""


def serialise(plan: Plan, body: bytes | None, *, path: str | None = None, method: str | None = None) -> bytes:
    """The whole HTTP/1.1 request; `path` and `method` are a trace's own.

    Headers of the plan replace ours of the same name. Raises ConfigError for headers that cannot be sent.
    """
    where = address(plan.target, plan.payload.task)
    verb = _method(plan.target.method, method or ("GET" if body is None else "POST"))
    headers = {
        "host": ("Host", where.host_header),
        "user-agent": ("User-Agent", f"paceline/{__version__}"),
        "accept": ("Accept", _accept(plan)),
    }
    if body is not None:
        headers["content-type"] = ("Content-Type", _content_type(plan, body))
    for name, value in plan.target.headers.items():
        headers[name.lower()] = (name, _header(plan, name, value))
    if body is not None or verb in {"POST", "PUT", "PATCH"}:
        headers["content-length"] = ("Content-Length", str(len(body or b"")))
    if not plan.keep_alive:
        headers["connection"] = ("Connection", "close")
    lines = [f"{verb} {where.path if path is None else quoted(path)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.values()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def requests(plan: Plan, trace: Trace | None) -> list[bytes]:
    """Every different request of a run, by the index that the schedule's `request` holds. Raises ConfigError."""
    made = bodies(plan, trace)
    if trace is None:
        return [serialise(plan, body) for body in made]
    return [
        serialise(plan, body, path=shape.path, method=shape.method)
        for body, shape in zip(made, trace.shapes, strict=True)
    ]


def _method(given: str | None, usual: str) -> str:
    verb = (usual if given is None else given).upper()
    if not _TOKEN.fullmatch(verb):
        raise ConfigError(f"{verb!r} is no HTTP method; write GET or POST", param="target.method")
    if verb in {"HEAD", "CONNECT"}:
        raise ConfigError(f"{verb} is not measured, its answer has no body; use GET", param="target.method")
    return verb


def _accept(plan: Plan) -> str:
    if plan.payload.stream:
        return "text/event-stream"
    return "*/*" if plan.payload.task == "http" else "application/json"


def _content_type(plan: Plan, body: bytes) -> str:
    """JSON where the body is; nothing is known of others."""
    if plan.payload.task != "http":
        return "application/json"
    if body.lstrip()[:1] in {b"{", b"["}:
        try:
            msgspec.json.decode(body, type=msgspec.Raw)
        except msgspec.DecodeError:
            pass
        else:
            return "application/json"
    return "application/octet-stream"


def _header(plan: Plan, name: str, value: str) -> str:
    """The value as it is sent; the error does not show it, for it may be a secret."""
    if not _TOKEN.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no header name; use letters, digits and hyphens", param="target.headers"
        )
    reason = _OURS.get(name.lower())
    if reason is not None:
        raise ConfigError(f"header {name} cannot be set: {reason}; leave it out", param="target.headers")
    if any(mark in value for mark in "\r\n\0"):
        raise ConfigError(
            f"header {name} has a line break or a NUL; write it on one line", param="target.headers"
        )
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(
            f"header {name} has characters outside Latin-1, which HTTP cannot carry; encode them",
            param="target.headers",
        ) from None
    parsed = plan.payload.task != "http" or plan.expect.json
    if name.lower() == "accept-encoding" and parsed and value.strip().lower() != "identity":
        raise ConfigError(
            f"{name}: {value} asks for compressed answers, which are not read; leave it out",
            param="target.headers",
        )
    return value.strip()
