"""The winner as TOML that `serve --config` reads."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from tune_reports import written

from paceline.settings import load
from paceline.tune.tuned_file import tuned


def report(winner, **changes):
    baseline = written().baseline_setting | dict.fromkeys(winner, 1)
    return msgspec.structs.replace(written(), winner=winner, baseline_setting=baseline, **changes)


def test_the_server_reads_what_the_tuner_wrote(tmp_path):
    """Every kind of value, by its dotted name."""
    file = tmp_path / "tuned.toml"
    file.write_text(
        tuned(
            report(
                {
                    "embed.batch.max_size": 4,
                    "embed.batch.max_wait_ms": 2.5,
                    "embed.batch.adaptive": False,
                    "cache.l1.eviction": "lru",
                    "cache.l1.max_bytes": 1 << 20,
                }
            )
        )
    )
    settings = load(config=file, environ={}).settings

    assert settings.embed.batch.max_size == 4
    assert settings.embed.batch.max_wait_ms == 2.5
    assert settings.embed.batch.adaptive is False
    assert settings.cache.l1.eviction == "lru"
    assert settings.cache.l1.max_bytes == 1 << 20


def test_it_says_where_it_comes_from_what_was_there_before_and_the_way_back():
    text = tuned(report({"embed.batch.max_size": 4}, why=["Because."], undo=["paceline serve"]))

    assert text.splitlines()[0].startswith("# Tuned by Paceline ")
    assert "# Because." in text
    assert "# Undo: paceline serve" in text
    assert "max_size = 4  # was 1" in text


@pytest.mark.parametrize(
    "winner",
    [
        {"http.keepalive": 64, "workers": 2},
        {"a.b.x": 1, "a.c": 2, "a.d.y": 3, "a.e": 4},
        {"with space.é": "on", 'quo"te': "two\nlines", "back\\slash": 1e-05},
        {"flag": True, "rate": 1e300, "big": 10**15},
    ],
)
def test_any_name_and_value_is_read_back(winner):
    """Also of foreign servers, whose names have no tables, or tables within tables."""
    read = tomllib.loads(tuned(report(winner)))

    assert dict(flat(read)) == winner


def flat(table, before=""):
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def test_a_sentence_of_two_lines_is_still_a_comment():
    text = tuned(report({"workers": 2}, why=["It said:\nserver = 'dead'"]))

    assert tomllib.loads(text) == {"workers": 2}
