"""`paceline config`: what the settings are, where each came from, and what they could be."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.cli.console import say
from paceline.cli.options import NO_OPTIONS, Options
from paceline.settings import Knob, digest, iter_knobs, leaves, load

command = App(
    name="config",
    help_epilogue="Examples:\n\n"
    "    paceline config show --diff             what differs from the defaults\n"
    "    paceline config show --set embed.batch.max_size=64\n"
    "    paceline config check paceline.toml\n"
    "    paceline config reference embed.batch   types, ranges and meaning",
)


@command.command
def show(
    *,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON.")] = False,
    diff: Annotated[
        bool, Parameter(negative="", show_default=False, help="Leave out what is at its default.")
    ] = False,
    options: Options = NO_OPTIONS,
) -> None:
    """Print every effective setting and where it came from; the output is a settings file again.

    Secrets show as ***.
    """
    loaded = options.load()
    rows = [
        (name, knob, value, loaded.origin(name))
        for name, knob, value in leaves(loaded.settings)
        if not diff or name in loaded.origins
    ]
    if json:
        values = {
            name: {"value": "***" if knob.hides(value) else value, "origin": origin, "unit": knob.unit}
            for name, knob, value, origin in rows
        }
        say(msgspec.json.encode({"digest": digest(loaded.settings), "settings": values}).decode())
        return
    lines = [
        (f"{'# ' * bool(knob.hides(value))}{name} = {knob.shown(value)}", origin)
        for name, knob, value, origin in rows
    ]
    width = min(max((len(line) for line, _ in lines), default=0), 60)
    for line, origin in lines:
        say(f"{line:{width}}  # {origin}")


@command.command
def check(file: Path, /) -> None:
    """Check a settings file alone, without the environment."""
    loaded = load(file, environ={})
    say(f"{file}: good, {len(loaded.origins)} settings, digest {digest(loaded.settings)}")


@command.command
def reference(prefix: str = "", /) -> None:
    """Print name, type, range, default and meaning of every setting, or of those whose name starts with PREFIX."""
    knobs = [knob for knob in iter_knobs() if knob.name.startswith(prefix)]
    if not knobs:
        raise ConfigError(f"no setting starts with {prefix!r}; `paceline config reference` lists all")
    for knob in knobs:
        say(f"{knob.name}  {summary(knob)}")
        say(textwrap.indent(textwrap.fill(knob.help, 100), "    "))


def summary(knob: Knob) -> str:
    """Type, range, unit, default and flags in one line."""
    kind = " ".join(part for part in (knob.type_name(), knob.range(), knob.unit) if part)
    flags = [name for name in ("live", "tune", "quality", "secret") if getattr(knob, name)]
    return f"{kind}, default {knob.shown(knob.default)}" + (f" ({', '.join(flags)})" if flags else "")
