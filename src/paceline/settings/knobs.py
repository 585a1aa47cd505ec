"""The settings as a flat list: what each `knob()` says about itself, and how its values are read and named."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

Node = Any
"""A Knob, or a group: a dictionary of nodes by name."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")

_KINDS: dict[Any, tuple[str, str]] = {
    bool: ("boolean", "true or false"),
    int: ("integer", "an integer"),
    float: ("number", "a number"),
    str: ("text", "a text"),
    Literal: ("choice", "one of"),
    list: ("list", "a list of"),
    tuple: ("list", "a list of"),
    dict: ("table", "a table"),
}
"""Name of each type on the reference page, and in errors."""


class Knob(msgspec.Struct, frozen=True):
    """One setting. `kind` is its Python type without the annotation that `hint` carries."""

    name: str
    hint: Any
    kind: Any
    default: Any
    help: str
    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    min_length: int | None = None
    pattern: str | None = None
    unit: str | None = None
    live: bool = False
    tune: bool = False
    quality: bool = False
    secret: bool = False
    cost: str = ""
    """What a larger or another value spends: memory, cpu, latency; empty for nothing."""
    grid: tuple[bool | float | str, ...] = ()
    """The values that the tuner tries."""
    entry: Node = None
    """For a table whose keys the user chooses: what each of its values is; else None."""

    @property
    def environment(self) -> str:
        """The variable that sets it."""
        return "PACELINE_" + self.name.replace(".", "__").upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a setting (or of the items of a list) that is one of a few names; else empty."""
        kind = get_args(self.kind)[0] if get_origin(self.kind) in (list, tuple) else self.kind
        return get_args(kind) if get_origin(kind) is Literal else ()

    def type_name(self) -> str:
        """The type in one word, as the reference page shows it."""
        return _KINDS[get_origin(self.kind) or self.kind][0]

    def range(self) -> str:
        """The values it takes: `0..65535`, `> 0`, `cost, lru`; empty when all of its type will do."""
        if self.choices:
            return ", ".join(self.choices)
        if isinstance(self.entry, dict):
            return f"of {', '.join(self.entry)}"
        if self.min_length is not None:
            return f"of {self.min_length} or more characters"
        if self.pattern is not None:
            return f"like {self.pattern}"
        if self.ge is not None and self.le is not None:
            return f"{number(self.ge)}..{number(self.le)}"
        bounds = {">": self.gt, ">=": self.ge, "<=": self.le}
        return ", ".join(f"{sign} {number(bound)}" for sign, bound in bounds.items() if bound is not None)

    def expected(self) -> str:
        """What a value must be, for error messages."""
        return f"{_KINDS[get_origin(self.kind) or self.kind][1]} {self.range()}".rstrip()

    def read(self, raw: Any, *, text: bool) -> Any:
        """Validate one value: a TOML value, or with `text` its spelling in the environment or after `--set`.

        Raises ValueError (msgspec's ValidationError and TOMLDecodeError are such) when it does not fit.
        """
        if text and get_origin(self.kind) in (list, tuple):
            raw = inline_toml(raw) if raw.startswith("[") else re.findall(r"[^,\s]+", raw)
        value = msgspec.convert(raw, self.hint, strict=not text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(raw)
        return value

    def hides(self, value: Any) -> bool:
        """Whether a value must not be printed; the default of a secret is none."""
        return self.secret and value != self.default

    def shown(self, value: Any) -> str:
        """A value as TOML spells it, or `"***"`."""
        return toml("***" if self.hides(value) else value)


def read_tree(defaults: msgspec.Struct, prefix: str = "") -> dict[str, Node]:
    """The settings below a policy struct, by name; groups are dictionaries."""
    hints = get_type_hints(type(defaults), include_extras=True)
    tree: dict[str, Node] = {}
    for field in msgspec.structs.fields(defaults):
        default = getattr(defaults, field.name)
        name = prefix + field.name
        if isinstance(default, msgspec.Struct):
            tree[field.name] = read_tree(default, f"{name}.")
        else:
            tree[field.name] = _knob(name, hints[field.name], default)
    return tree


def _knob(name: str, hint: Any, default: Any) -> Knob:
    kind, meta = get_args(hint)
    entry: Node = None
    if get_origin(kind) is dict:
        of, inner = get_args(kind)[1], f"{name}.*"
        if issubclass(of, msgspec.Struct):
            entry = read_tree(of(), f"{inner}.")
        else:
            entry = Knob(
                inner, hint=of, kind=of, default=None, help=meta.description, secret=meta.extra["secret"]
            )
    return Knob(
        name=name,
        hint=hint,
        kind=kind,
        default=default,
        help=meta.description,
        ge=meta.ge,
        le=meta.le,
        gt=meta.gt,
        min_length=meta.min_length,
        pattern=meta.pattern,
        entry=entry,
        **meta.extra,
    )


def flatten(tree: dict[str, Node]) -> Iterator[Knob]:
    """Every setting of a tree, in the order of the fields."""
    for node in tree.values():
        if isinstance(node, Knob):
            yield node
        else:
            yield from flatten(node)


def below(node: Node, key: str) -> Node:
    """The node that `key` names below a group or a table; None when there is none."""
    if isinstance(node, Knob):
        return node.entry
    return node.get(key)


def dotted(path: Iterable[str]) -> str:
    """A path as TOML spells it: `limits.endpoints."/v1/infer".rpm`."""
    return ".".join(key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False) for key in path)


def split(tree: dict[str, Node], name: str) -> tuple[str, ...]:
    """The path of a dotted name. A table's own key may hold dots; quotes around it are optional, shells eat them."""
    node: Node = tree
    path: tuple[str, ...] = ()
    rest = name
    while rest:
        if isinstance(node, Knob) and node.entry is not None:
            key, _, last = rest.rpartition(".")
            key, rest = (key, last) if isinstance(node.entry, dict) and last in node.entry else (rest, "")
            path = (*path, key.strip("\"'"))
        else:
            key, _, rest = rest.partition(".")
            path = (*path, key)
        node = below(node, path[-1])
        if node is None:
            return (*path, *rest.split(".")) if rest else path
    return path


def inline_toml(text: str) -> Any:
    """A value in TOML's spelling. Raises ValueError."""
    return tomllib.loads(f"value = {text}")["value"]


def toml(value: Any) -> str:
    """A value in TOML's spelling; the inverse of `inline_toml`."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # which TOML, unlike JSON, wants escaped


def number(value: float) -> str:
    """A bound without needless zeros."""
    return str(int(value)) if float(value).is_integer() else str(value)
