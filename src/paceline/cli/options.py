"""Options that every command with settings takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from paceline.settings import Loaded


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Where the settings of a command come from. Give a command `options: Options = NO_OPTIONS`."""

    config: Annotated[
        Path | None,
        Parameter(
            name="--config", help="Settings file; else PACELINE_CONFIG, else paceline.toml if it exists."
        ),
    ] = None
    sets: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set", negative="", show_default=False, help="One setting as NAME=VALUE; may be repeated."
        ),
    ] = ()

    def load(self, *more: str) -> Loaded:
        """Read the settings; `more` are further NAME=VALUE that a command's own options stand for.

        Raises ConfigError.
        """
        from paceline.settings import load  # noqa: PLC0415 - the whole tree, which `--help` does not need

        return load(self.config, sets=(*self.sets, *more))


Options = Annotated[SettingsOptions, Parameter(name="*")]
NO_OPTIONS = SettingsOptions()
