"""Settings: one tree, one dotted name everywhere; defaults < TOML file < environment < `--set`."""

from paceline.settings.knobs import Knob
from paceline.settings.live import LiveSettings
from paceline.settings.sources import ALIASES, OTHER_VARIABLES, Loaded, load
from paceline.settings.tree import Settings, digest, iter_knobs, leaves

__all__ = [
    "ALIASES",
    "OTHER_VARIABLES",
    "Knob",
    "LiveSettings",
    "Loaded",
    "Settings",
    "digest",
    "iter_knobs",
    "leaves",
    "load",
]
