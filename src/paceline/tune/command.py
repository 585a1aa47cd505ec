"""The command of a server to launch, and the files it reads, with places for the knobs.

`{NAME}` is a knob's value; `{port}` the port of the URL; `{settings}` a `--set NAME=VALUE` for every knob; `{folder}`
the server's temporary folder and `{files.NAME}` a file in it; `{here}` the folder of the knob file. Only braces
around a single name mean anything, so nginx's blocks and JSON stand as they are; `{{NAME}}` is a literal `{NAME}`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from paceline.base.errors import ConfigError
from paceline.tune.knob_file import KnobFile
from paceline.tune.setting import Setting, spelled

_PLACE = re.compile(r"\{\{(?P<literal>[A-Za-z_][\w.-]*)\}\}|(?<![$\w]){(?P<name>[A-Za-z_][\w.-]*)}")


class Command:
    """A checked command. Raises ConfigError for a place that nothing fills, and for a knob without a place."""

    def __init__(self, text: str, knob_file: KnobFile, port: int) -> None:
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise ConfigError(f"--launch {text}: {error}; quote it as for a shell", param="launch") from error
        if not self._words:
            raise ConfigError("--launch: the command is empty; name the server's program", param="launch")
        self._knob_file = knob_file
        self._port = port
        self._check()

    def render(self, setting: Setting, folder: Path) -> list[str]:
        """Write the files into `folder` and return the words of the command.

        A word that is one place and nothing else is left out when its value is empty: a flag to give or not.
        Raises ConfigError for a setting outside the knobs' ranges.
        """
        values = {name: spelled(value) for name, value in self._knob_file.complete(setting).items()}
        fixed = {
            **values,
            "port": str(self._port),
            "folder": str(folder),
            "here": str(self._knob_file.path.parent.resolve()),
            **{f"files.{name}": str(folder / name) for name in self._knob_file.files},
        }
        for name, text in self._knob_file.files.items():
            (folder / name).write_text(_fill(text, fixed), encoding="utf-8")
        words = []
        for word in self._words:
            if word == "{settings}":
                words += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
            elif filled := _fill(word, fixed):
                words.append(filled)
        return words

    def _check(self) -> None:
        here = self._knob_file.path
        files = {f"files.{name}": text for name, text in self._knob_file.files.items()}
        known = {*self._knob_file.baseline(), "port", "folder", "here", *files}
        used: set[str] = set()
        for where, text in (
            *(("--launch", word) for word in self._words),
            *((f"{here}: {k}", t) for k, t in files.items()),
        ):
            for name in _places(text):
                if name == "settings" and text == "{settings}":
                    used |= set(self._knob_file.baseline())
                elif name == "settings":
                    raise ConfigError(
                        f"{where}: {text}: {{settings}} must be a word of its own", param="launch"
                    )
                elif name not in known:
                    near = get_close_matches(name, known, n=1) or ["", *self._knob_file.baseline()][1:]
                    raise ConfigError(
                        f"{where}: {{{name}}}: no such knob; did you mean {{{near[0]}}}? "
                        f"Declare it in {here}, or write {{{{{name}}}}} for the text itself",
                        param=name,
                    )
                used.add(name)
        for name in self._knob_file.baseline():
            if name not in used:
                raise ConfigError(
                    f"{here}: {name}: a knob that nothing uses; put {{{name}}} into --launch or into one of [files], "
                    "or take it out",
                    param=name,
                )
        for name in files:
            if name not in used and "folder" not in used:
                raise ConfigError(
                    f"{here}: {name}: a file that --launch does not name; put {{{name}}} into it", param=name
                )


def _places(text: str) -> list[str]:
    return [found["name"] for found in _PLACE.finditer(text) if found["name"]]


def _fill(text: str, values: Mapping[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        return values[found["name"]] if found["name"] else f"{{{found['literal']}}}"

    return _PLACE.sub(fill, text)
