"""The winner as a settings file."""

from __future__ import annotations

import json
import re

from paceline.tune.report import TuneReport
from paceline.tune.setting import Value, spelled

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def tuned(report: TuneReport) -> str:
    """TOML with the winner's values, each beside the one it replaces; for `paceline serve --config`."""
    lines = [
        f"# Tuned by Paceline {report.paceline} on {report.made_at} for {report.url}",
        *(f"# {' '.join(sentence.splitlines())}" for sentence in report.why),
        *(f"# Undo: {line}" for line in report.undo),
    ]
    group = None
    # By table, those without one first: TOML opens each table once, and nothing behind it is outside.
    for here, last in sorted(name.rpartition(".")[::2] for name in report.winner):
        name = f"{here}.{last}" if here else last
        if here != group:
            group = here
            lines += ["", *([f"[{'.'.join(map(_key, here.split('.')))}]"] if here else [])]
        lines.append(
            f"{_key(last)} = {_toml(report.winner[name])}  # was {spelled(report.baseline_setting[name])}"
        )
    return "\n".join([*lines, ""])


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return spelled(value)
    return repr(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
