"""Settings of the HTTP server."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from paceline.base.knob import knob


class GrpcPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """gRPC beside HTTP."""

    port: Annotated[
        int, knob("TCP port of gRPC, for collections of vectors; 0: there is none.", ge=0, le=65535)
    ] = 0


class AuthPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may call. Without any token everybody may."""

    token: Annotated[
        str,
        knob(
            "Bearer token every caller must send; empty with no `tokens` leaves the door open.", secret=True
        ),
    ] = ""
    tokens: Annotated[
        dict[str, str], knob("More bearer tokens, by a name that shows in limits and logs.", secret=True)
    ] = {}


class AdminPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may look at and change the settings of the running server."""

    token: Annotated[
        str,
        knob(
            "Bearer token of `/admin`; empty switches these paths off. It opens nothing else, and no other token opens "
            "them.",
            secret=True,
        ),
    ] = ""
    audit_log: Annotated[
        str,
        knob(
            "Append a JSON line for each change of a setting to this file: who, what, old and new value. Empty takes "
            "the log on standard error."
        ),
    ] = ""


class TlsPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS of the public socket; both files or none."""

    cert_file: Annotated[str, knob("PEM file with the certificate chain.")] = ""
    key_file: Annotated[str, knob("PEM file with the private key.")] = ""


class CompressionPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Compression of replies, by negotiation (`Accept-Encoding`)."""

    enabled: Annotated[bool, knob("Compress replies when the client accepts it.", live=True)] = True
    min_bytes: Annotated[
        int, knob("Smaller replies go as they are.", ge=0, le=1 << 30, unit="bytes", live=True)
    ] = 8192
    algorithms: Annotated[tuple[Literal["zstd", "gzip"], ...], knob("In order of preference.")] = (
        "zstd",
        "gzip",
    )


class ServePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how the server listens."""

    host: Annotated[str, knob("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, knob("TCP port; 0 takes a free one and prints it.", ge=0, le=65535)] = 8080
    uds: Annotated[str, knob("Listen on this unix socket instead of TCP; empty for TCP.")] = ""
    workers: Annotated[
        int,
        knob("HTTP worker processes; with more than one, a further process owns the engines.", ge=1, le=256),
    ] = 1
    backlog: Annotated[int, knob("Connections the kernel queues for accept.", ge=1, le=65535)] = 2048
    keep_alive_s: Annotated[
        float, knob("Idle connections are closed after this.", ge=0, le=86400, unit="s")
    ] = 75.0
    timeout_s: Annotated[
        float,
        knob(
            "Deadline of requests that bring none (`x-request-timeout-ms`).",
            gt=0,
            le=86400,
            unit="s",
            live=True,
        ),
    ] = 30.0
    generate_timeout_s: Annotated[
        float,
        knob("The same for generated text, which takes longer.", gt=0, le=86400, unit="s", live=True),
    ] = 600.0
    drain_s: Annotated[
        float, knob("Time open requests have to end when the server stops.", ge=0, le=3600, unit="s")
    ] = 20.0
    max_body_bytes: Annotated[
        int, knob("Larger request bodies are refused.", ge=1024, le=1 << 34, unit="bytes", live=True)
    ] = 8 << 20
    state_dir: Annotated[
        str,
        knob(
            "Folder for measured layouts, quantised models and the disk cache; empty takes ~/.cache/paceline."
        ),
    ] = ""
    access_log: Annotated[
        str,
        knob(
            "Append a JSON line for each reply to this file, without what was asked; - is standard output, empty none."
        ),
    ] = ""
