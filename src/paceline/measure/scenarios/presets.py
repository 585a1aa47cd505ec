"""The scenarios that come with the package: one TOML file each, made to be printed, changed and kept as one's own."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from paceline.base.errors import ConfigError
from paceline.measure.scenarios.scenario import Scenario, read, read_file

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The shortest first, as one would try them."""
    order = ["smoke", "baseline", "spike", "stress", "saturation", "endurance"]
    there = {path.stem for path in FOLDER.glob("*.toml")}
    return [name for name in order if name in there] + sorted(there - set(order))


def text(name: str) -> str:
    """The file of a preset. Raises ConfigError when there is none of that name."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"--scenario {name}: no such preset and no such file; {hint}", param="scenario")
    return (FOLDER / f"{name}.toml").read_text()


def named(name_or_path: str) -> Scenario:
    """A preset, or the scenario in a file (whatever ends in .toml or is there). Raises ConfigError."""
    path = Path(name_or_path)
    if name_or_path not in names() and (path.suffix == ".toml" or path.is_file()):
        return read_file(path)
    return read(text(name_or_path), source=name_or_path)
