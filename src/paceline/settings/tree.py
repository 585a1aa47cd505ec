"""The whole tree of settings, assembled from the policy structs beside the classes they steer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from paceline.embed.policy import EmbedPolicy
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.limiter import LimitPolicy
from paceline.flow.redis_link import RedisPolicy
from paceline.generate.policy import GeneratePolicy
from paceline.serve.policy import (
    AdminPolicy,
    AuthPolicy,
    CompressionPolicy,
    GrpcPolicy,
    ServePolicy,
    TlsPolicy,
)
from paceline.settings.knobs import Knob, Node, below, dotted, flatten, read_tree
from paceline.vectors.policy import VectorsPolicy


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting of Paceline. `Settings()` are the defaults; `load` reads the user's."""

    serve: ServePolicy = ServePolicy()
    auth: AuthPolicy = AuthPolicy()
    admin: AdminPolicy = AdminPolicy()
    tls: TlsPolicy = TlsPolicy()
    grpc: GrpcPolicy = GrpcPolicy()
    compression: CompressionPolicy = CompressionPolicy()
    limits: LimitPolicy = LimitPolicy()
    cache: CachePolicy = CachePolicy()
    redis: RedisPolicy = RedisPolicy()
    embed: EmbedPolicy = EmbedPolicy()
    generate: GeneratePolicy = GeneratePolicy()
    vectors: VectorsPolicy = VectorsPolicy()


TREE: dict[str, Node] = read_tree(Settings())
KNOBS: dict[str, Knob] = {knob.name: knob for knob in flatten(TREE)}


def iter_knobs() -> Iterator[Knob]:
    """Every setting, in the order of the tree: name, type, default, range, unit, help, flags."""
    yield from KNOBS.values()


def leaves(settings: msgspec.Struct) -> Iterator[tuple[str, Knob, Any]]:
    """Every effective value as (dotted name, its setting, value); a table's entries one by one."""
    yield from _leaves(TREE, (), settings)


def _leaves(node: Node, path: tuple[str, ...], value: Any) -> Iterator[tuple[str, Knob, Any]]:
    if isinstance(node, Knob) and (node.entry is None or not value):
        yield dotted(path), node, value
        return
    inner = value if isinstance(value, dict) else msgspec.structs.asdict(value)
    for key, item in inner.items():
        yield from _leaves(below(node, key), (*path, key), item)


def digest(settings: Settings) -> str:
    """12 hexadecimal digits that two runs share only when all their settings agree; secrets do not count."""
    values = {name: value for name, knob, value in leaves(settings) if not knob.secret}
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()[:12]


def conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that are good alone and wrong together: (dotted name, what to do)."""
    tls = settings.tls
    if bool(tls.cert_file) != bool(tls.key_file):
        given, missing = ("cert_file", "key_file") if tls.cert_file else ("key_file", "cert_file")
        yield f"tls.{given}", f"TLS needs tls.{missing} too; set both or neither"
    if settings.redis.url.split("://")[0] not in {"redis", "rediss", "unix"}:
        yield "redis.url", "expected an address that starts with redis://, rediss:// or unix://"
    for path in settings.limits.endpoints:
        if not path.startswith("/"):
            yield dotted(("limits", "endpoints", path)), f'a path starts with a slash; write "/{path}"'
    known = ["default", *settings.auth.tokens]
    for name in settings.limits.tokens:
        if name not in known:
            advice = f"no bearer token has this name; known are {', '.join(known)} (default is auth.token)"
            yield dotted(("limits", "tokens", name)), advice
    vectors = settings.vectors
    if vectors.backend != "paceline" and not vectors.url:
        yield "vectors.url", f"backend {vectors.backend} needs its address"
    yield from _token_conflicts(settings)


def _token_conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    names: dict[str, str] = {settings.auth.token: "auth.token"} if settings.auth.token else {}
    for name, token in settings.auth.tokens.items():
        here = dotted(("auth", "tokens", name))
        if not token:
            yield here, "an empty token would let everybody in; give it a value or remove it"
        elif token in names:
            yield here, f"the same token as {names[token]}; limits cannot tell them apart, give each its own"
        names[token] = here
    if settings.admin.token and settings.admin.token in names:
        advice = f"the same token as {names[settings.admin.token]}, whose callers must not change settings; give it its own"
        yield "admin.token", advice
