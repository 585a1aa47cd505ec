"""Where settings come from: a TOML file, the environment, `--set`. Each value remembers which, errors say so."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from paceline.base.errors import ConfigError, NotLive
from paceline.settings.knobs import Knob, Node, below, dotted, inline_toml, split
from paceline.settings.tree import KNOBS, TREE, Settings, conflicts, leaves

PREFIX = "PACELINE_"

KeyPath = tuple[str, ...]
"""The keys from the root of the tree to a value."""

ALIASES: dict[str, str | dict[str, dict[str, str]]] = {
    "BATCH_MAX_SIZE": "embed.batch.max_size",
    "BATCH_FLUSH_TIMEOUT_MS": "embed.batch.max_wait_ms",
    "CACHE_BACKEND": {
        "memory": {"cache.l2.enabled": "false", "cache.l3.enabled": "false"},
        "disk": {"cache.l2.enabled": "true", "cache.l3.enabled": "false"},
        "redis": {"cache.l2.enabled": "false", "cache.l3.enabled": "true"},
    },
    "REDIS_URL": "redis.url",
    "CACHE_DEFAULT_TTL": "cache.ttl.warm_s",
    "RATE_LIMIT_RPM": "limits.rpm",
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "embed.breaker.failure_threshold",
    "CIRCUIT_BREAKER_TIMEOUT_SEC": "embed.breaker.open_s",
    "API_TOKEN": "auth.token",
}
"""Well-known variables: the setting each is another name of, or what each of its values switches."""

OTHER_VARIABLES: dict[str, str] = {
    "PACELINE_CONFIG": "Settings file, when `--config` names none.",
    "PACELINE_DEBUG": "1 shows the traceback of an error of the command line.",
    "PACELINE_RUNS": "Folder of the runs that `paceline measure` keeps.",
    "PACELINE_REQUIRE_REDIS": "1 makes tests that need redis-server fail instead of skip.",
    "PACELINE_REQUIRE_NGINX": "1 makes tests that need nginx fail instead of skip.",
    "PACELINE_PEERS_HOME": "Folder of the environments that `benchmarks/peers` installs.",
}
"""Variables with our prefix that are not settings."""

_SERVICE_LINK = re.compile(
    r"(PACELINE_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d+_[A-Z]+)(_\w+)?=.*)|PACELINE_PORT=\w+://.*"
)
"""`NAME=value` that Kubernetes puts into every pod beside a Service called paceline: nobody's mistake."""


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each dotted name that is not at its default where the value came from."""

    settings: Settings
    origins: dict[str, str]

    def origin(self, name: str) -> str:
        """`default`, `paceline.toml:12`, `environment NAME` or `--set`."""
        return self.origins.get(name, "default")


def load(
    config: Path | None = None, *, sets: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> Loaded:
    """Assemble the settings: defaults < TOML file < environment < `sets` (each `NAME=VALUE`).

    The file is `config`, else `PACELINE_CONFIG`, else `paceline.toml` in the working directory if there is one.
    Raises ConfigError that names the value, where it came from, and what was expected.
    """
    draft = _Draft()
    if config:
        _read_file(draft, config)
    elif environ.get("PACELINE_CONFIG"):
        _read_file(draft, Path(environ["PACELINE_CONFIG"]), " (from environment PACELINE_CONFIG)")
    elif (here := Path("paceline.toml")).exists():
        _read_file(draft, here)
    _read_environment(draft, environ)
    for item in sets:
        name, equals, text = item.partition("=")
        if not (equals and name.strip()):
            raise ConfigError(f"--set {item}: expected NAME=VALUE, for example --set embed.batch.max_size=64")
        draft.put_text(name.strip(), text.strip(), "--set")
    settings = msgspec.convert(draft.nested(), Settings)
    _refuse_conflicts(settings, draft.origins)
    return Loaded(settings, draft.origins)


def changed(settings: Settings, changes: Mapping[str, Any], origin: str) -> Settings:
    """`settings` with `changes` by dotted name, whose values are as in TOML; a whole table replaces the one before.

    Only live settings may change. Raises ConfigError as `load` does, and NotLive; both name `origin`.
    """
    draft = _Draft()
    for name, raw in changes.items():
        node, path = draft.find(name, origin)
        if isinstance(node, Knob) and node.entry is not None:
            draft.knobs[path] = node
            draft.cleared.append(path)
        draft.put(node, path, raw, lambda _: origin)
    for path, knob in draft.knobs.items():
        if not knob.live:
            raise NotLive(
                f"{dotted(path)} (from {origin}): not live; give it to the server when it starts again",
                param=dotted(path),
            )
    updated = msgspec.convert(draft.nested(msgspec.to_builtins(settings)), Settings)
    _refuse_conflicts(updated, draft.origins)
    return updated


class _Draft:
    """Values gathered so far; a later source overwrites single values and table entries, never whole groups."""

    def __init__(self) -> None:
        self.values: dict[KeyPath, Any] = {}
        self.origins: dict[str, str] = {}
        self.knobs: dict[KeyPath, Knob] = {}
        self.cleared: list[KeyPath] = []
        """Tables that lose the entries they had."""

    def put_text(self, name: str, text: str, origin: str, variable: str = "") -> None:
        """Set what `name` says to the value that `text` spells; `variable` is the name's own spelling."""
        node, path = self.find(name, origin, variable)
        self.put(node, path, text, lambda _: origin, text=True)

    def find(self, name: str, origin: str, variable: str = "") -> tuple[Node, KeyPath]:
        """The setting, table or group by that name, and its path."""
        node: Node = TREE
        path = split(TREE, name)
        for at, key in enumerate(path):
            group, node = node, below(node, key)
            if node is None:
                raise _unknown(path, at, group, origin, variable)
        if not path:
            raise ConfigError(
                f"a setting without a name (from {origin}); `paceline config reference` lists all"
            )
        return node, path

    def put(
        self, node: Node, path: KeyPath, raw: Any, origin: Callable[[KeyPath], str], *, text: bool = False
    ) -> None:
        """Set a setting, or all that a table holds."""
        name = dotted(path)
        if isinstance(node, Knob) and node.entry is None:
            try:
                self.values[path] = node.read(raw, text=text)
            except ValueError:
                raise wrong(node, name, raw, origin(path), f"expected {node.expected()}") from None
            self.origins[name] = origin(path)
            self.knobs[path] = node
            return
        if text:
            with suppress(ValueError):  # what is not TOML is no table either, which is refused next
                raw = inline_toml(raw)
        if not (
            isinstance(raw, dict) and all(isinstance(key, str) for key in raw)
        ):  # MessagePack has other keys
            advice = node.expected() if isinstance(node, Knob) else f"a table with any of {', '.join(node)}"
            advice += ", spelled as in TOML: {key = value}" if text else ""
            raise wrong(node, name, raw, origin(path), f"expected {advice}")
        for key, value in raw.items():
            child = below(node, key)
            here = (*path, key)
            if child is None:
                raise _unknown(here, len(path), node, origin(here))
            self.put(child, here, value, origin)

    def nested(self, root: dict[str, Any] | None = None) -> dict[str, Any]:
        """The values as a tree of dictionaries, or in `root`, which is such a tree."""
        root = {} if root is None else root
        for path in self.cleared:
            group = root
            for key in path:
                group = group[key]
            group.clear()
        for path, value in self.values.items():
            group = root
            for key in path[:-1]:
                group = group.setdefault(key, {})
            group[path[-1]] = value
        return root


def _read_file(draft: _Draft, file: Path, named_by: str = "") -> None:
    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"settings file {file}{named_by}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"settings file {file} is not TOML: {error}") from error
    lines = toml_lines(text)

    def origin(path: KeyPath) -> str:
        known = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
        return f"{file}:{known}" if known else str(file)

    draft.put(TREE, (), document, origin)


def _read_environment(draft: _Draft, environ: Mapping[str, str]) -> None:
    for name, target in ALIASES.items():
        if name not in environ:
            continue
        text, origin = environ[name], f"environment {name}"
        if isinstance(target, str):
            draft.put_text(target, text, origin)
            continue
        if text not in target:
            raise wrong(None, name, text, origin, f"expected one of {', '.join(target)}")
        for setting, value in target[text].items():
            draft.put_text(setting, value, origin)
    for name, text in environ.items():
        if (
            not name.startswith(PREFIX)
            or name in OTHER_VARIABLES
            or _SERVICE_LINK.fullmatch(f"{name}={text}")
        ):
            continue
        setting = name.removeprefix(PREFIX).lower().replace("__", ".")
        draft.put_text(setting, text, f"environment {name}", variable=name)


def _refuse_conflicts(settings: Settings, origins: Mapping[str, str]) -> None:
    effective = {name: (knob, value) for name, knob, value in leaves(settings)}
    for name, advice in conflicts(settings):
        origin = next((origins[known] for known in origins if known.startswith(name)), "default")
        if name not in effective:
            raise ConfigError(f"{name} (from {origin}): {advice}", param=name)
        knob, value = effective[name]
        raise wrong(knob, name, value, origin, advice)


def toml_lines(text: str) -> dict[KeyPath, int]:
    """Line numbers (from 1) of the tables and keys of a TOML document that each stand on a line of their own."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\[\]]+)\]\s*(#.*)?$", line)
        spelling = header[1] if header else line.partition("=")[0]
        if not header and "=" not in line:
            continue
        try:
            path = _path(tomllib.loads(f"{spelling} = 0"))
        except ValueError:
            continue
        table, path = (path, path) if header else (table, (*table, *path))
        lines.setdefault(path, number)
    return lines


def _path(nested: Any) -> KeyPath:
    path: KeyPath = ()
    while isinstance(nested, dict):
        key, nested = next(iter(nested.items()), ("", 0))
        path = (*path, key)
    return path


def wrong(knob: Any, name: str, value: Any, origin: str, advice: str) -> ConfigError:
    """The error of a value that does not fit: ``name = value (from origin): advice``."""
    shown = "***" if getattr(knob, "secret", False) else repr(value)
    if len(shown) > 80:
        shown = f"{shown[:76]} ..."
    return ConfigError(f"{name} = {shown} (from {origin}): {advice}", param=name)


def _unknown(path: KeyPath, at: int, group: Node, origin: str, variable: str = "") -> ConfigError:
    """The error of a path whose key number `at` is not in `group`, with the nearest name that would be."""
    name = dotted(path)
    beside = get_close_matches(path[at], group, n=1) if isinstance(group, dict) else []
    near = (
        [dotted((*path[:at], key, *path[at + 1 :])) for key in beside]
        or [known for known in KNOBS if known.rpartition(".")[2] == path[-1]]
        or get_close_matches(name, KNOBS, n=1)
    )
    if variable:
        origin = "environment"
        near = get_close_matches(variable, OTHER_VARIABLES, n=1, cutoff=0.85) or near
        near = [KNOBS[known].environment if known in KNOBS else known for known in near]
    advice = f"did you mean {near[0]}?" if near else "`paceline config reference` lists all"
    return ConfigError(f"{variable or name} (from {origin}): no such setting; {advice}", param=name)
