"""`paceline config`."""

import json
import tomllib

import pytest

from paceline.cli import run
from paceline.settings import Settings, digest, iter_knobs, load


def test_show_prints_every_setting_and_where_it_came_from(capsys, monkeypatch):
    monkeypatch.setenv("BATCH_MAX_SIZE", "7")

    assert run(["config", "show", "--set", "limits.endpoints./a.rpm=5"]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {
        line[0]: (" ".join(line[2 : line.index("#")]), " ".join(line[line.index("#") + 1 :]))
        for line in lines
    }
    assert {knob.name for knob in iter_knobs()} - {"limits.endpoints"} <= shown.keys()
    assert shown["embed.batch.max_size"] == ("7", "environment BATCH_MAX_SIZE")
    assert shown['limits.endpoints."/a".rpm'] == ("5", "--set")
    assert shown["serve.host"] == ('"127.0.0.1"', "default")


def test_what_show_prints_is_a_settings_file(capsys, tmp_path):
    run(["config", "show", "--set", "limits.endpoints./a.rpm=5", "--set", "embed.batch.max_wait_ms=2.5"])
    file = tmp_path / "again.toml"
    file.write_text(capsys.readouterr().out)

    settings = load(file, environ={}).settings

    assert (settings.limits.endpoints["/a"].rpm, settings.embed.batch.max_wait_ms) == (5, 2.5)


def test_show_diff_leaves_out_the_defaults(capsys):
    run(["config", "show", "--diff", "--set", "serve.port=81", "--set", "serve.host=::"])

    assert capsys.readouterr().out == 'serve.host = "::"  # --set\nserve.port = 81    # --set\n'


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_show_never_prints_a_secret(capsys, form):
    secrets = ["auth.token=hush1", "auth.tokens.alice=hush2", "redis.url=redis://:hush3@cache"]

    assert run(["config", "show", *form, *(part for item in secrets for part in ("--set", item))]) == 0

    text = capsys.readouterr().out
    assert ("hush" in text, text.count("***")) == (False, 3)


def test_a_hidden_secret_is_no_setting_when_read_back(capsys):
    run(["config", "show", "--diff", "--set", "auth.token=hush"])

    assert tomllib.loads(capsys.readouterr().out) == {}


def test_show_json_is_for_programs(capsys):
    run(["config", "show", "--json", "--set", "serve.port=81"])

    shown = json.loads(capsys.readouterr().out)
    settings = load(environ={}, sets=["serve.port=81"]).settings
    assert shown["digest"] == digest(settings)
    assert shown["settings"]["serve.port"] == {"value": 81, "origin": "--set", "unit": None}


def test_check_says_that_a_file_is_good(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PACELINE_SERVE__PORT", "nonsense that is not the file's fault")
    (tmp_path / "a.toml").write_text("[serve]\nport = 8080\n")

    assert run(["config", "check", "a.toml"]) == 0

    assert capsys.readouterr().out == f"a.toml: good, 1 settings, digest {digest(Settings())}\n"


def test_check_refuses_a_bad_file(capsys, tmp_path):
    (tmp_path / "a.toml").write_text("[serve]\nprt = 8080\n")

    assert run(["config", "check", "a.toml"]) == 2

    assert capsys.readouterr().err == (
        "paceline: error: serve.prt (from a.toml:2): no such setting; did you mean serve.port?\n"
    )


def test_reference_explains_the_settings_of_a_group(capsys):
    assert run(["config", "reference", "redis."]) == 0

    assert capsys.readouterr().out.splitlines()[:2] == [
        'redis.url  text, default "redis://127.0.0.1:6379/0" (secret)',
        "    redis://, rediss:// or unix:// address.",
    ]


def test_reference_of_an_unknown_group_is_refused(capsys):
    assert run(["config", "reference", "nosuch"]) == 2

    assert "no setting starts with 'nosuch'" in capsys.readouterr().err
