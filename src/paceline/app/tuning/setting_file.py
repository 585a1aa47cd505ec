"""A settings file as one side of an A/B: what it changes on a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from paceline.base.errors import ConfigError
from paceline.settings import leaves, load
from paceline.tune.setting import Setting, Value

OWN: Final = "the server's own settings"


def read_setting(file: Path) -> Setting:
    """The settings of a file, which must all be live ones. Raises ConfigError with the file and the line."""
    loaded = load(file, environ={})
    setting: dict[str, Value] = {}
    for name, knob, value in leaves(loaded.settings):
        if name not in loaded.origins:
            continue
        if not knob.live:
            raise ConfigError(
                f"{name} (from {loaded.origin(name)}): takes effect at a start only; start a second server with it and "
                "compare the two with --a-url and --b-url",
                param=name,
            )
        setting[name] = value
    if not setting:
        raise ConfigError(
            f"settings file {file} sets nothing; a side without a file is {OWN}", param="settings"
        )
    return setting
