"""`paceline knobs`."""

from __future__ import annotations

import json

import httpx
import pytest
from running import running

from paceline.cli import run
from paceline.settings import iter_knobs


def lines(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_what_the_tuner_turns_is_listed_with_what_it_tries_and_costs(capsys):
    assert run(["knobs"]) == 0

    text = capsys.readouterr().out
    head, *rows = text.splitlines()
    assert head.split() == [
        "name",
        "type",
        "values",
        "unit",
        "takes",
        "effect",
        "answers",
        "costs",
        "default",
    ]
    assert [row.split()[0] for row in rows] == [knob.name for knob in iter_knobs() if knob.tune]
    shown = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert shown["embed.batch.max_size"] == "integer 1, 2, 4, 8, 16, 32, 64 rows live same latency 32"
    assert shown["embed.precision"] == "choice fp32, bf16, int8 restart changes cpu auto"


def test_all_settings_have_their_range(capsys):
    assert run(["knobs", "--all"]) == 0

    shown = {line[0]: line[1:] for line in lines(capsys)}
    assert set(shown) == {"name", *(knob.name for knob in iter_knobs())}
    assert shown["serve.port"] == ["integer", "0..65535", "restart", "same", "8080"]


def test_json_is_what_a_server_would_say(capsys):
    assert run(["knobs", "--json"]) == 0

    state = json.loads(capsys.readouterr().out)
    assert (state["version"], state["lease"]) == (0, None)
    assert [one["grid"] for one in state["settings"] if one["name"] == "cache.l1.eviction"] == [
        ["cost", "lru"]
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    state = str(tmp_path_factory.mktemp("state"))
    with running("embed.model=", "admin.token=adm", state_dir=state) as started:
        yield started


def test_a_running_server_shows_its_values_and_its_trial(capsys, monkeypatch, server):
    monkeypatch.setenv("PACELINE_ADMIN__TOKEN", "adm")
    change = {"changes": {"embed.batch.max_size": 9}, "lease_s": 60}
    trial = httpx.patch(
        server.url + "/admin/settings", json=change, headers={"authorization": "Bearer adm"}
    ).json()
    code = run(["knobs", "--url", server.url])
    told = capsys.readouterr()
    httpx.delete(
        f"{server.url}/admin/settings/lease/{trial['lease']['id']}", headers={"authorization": "Bearer adm"}
    )

    row = next(line for line in told.out.splitlines() if line.startswith("embed.batch.max_size"))
    assert (code, row.split()[-2:]) == (0, ["32", "9"])
    assert "on trial by admin@127.0.0.1, back in" in told.err


def test_secrets_stay_with_the_server(capsys, server):
    assert run(["knobs", "--all", "--url", server.url, "--token", "adm"]) == 0

    assert [line[-1] for line in lines(capsys) if line[0] == "admin.token"] == ["***"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--url", "{url}"], 2, "PACELINE_ADMIN__TOKEN in the environment"),
        (["--url", "{url}", "--token", "no"], 1, "does not know this token"),
        (["--url", "http://127.0.0.1:1", "--token", "x"], 1, "does not answer"),
        (["--url", "localhost", "--token", "x"], 2, "expected http://host:port"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(capsys, monkeypatch, server, arguments, code, words):
    monkeypatch.delenv("PACELINE_ADMIN__TOKEN", raising=False)

    assert run(["knobs", *(argument.format(url=server.url) for argument in arguments)]) == code
    told = capsys.readouterr()
    assert (told.out, words in told.err, told.err.count("\n")) == ("", True, 1)


def test_a_server_without_admin_says_how_to_switch_it_on(capsys, tmp_path):
    with running("embed.model=", state_dir=str(tmp_path)) as server:
        assert run(["knobs", "--url", server.url, "--token", "x"]) == 1

    assert "--set admin.token" in capsys.readouterr().err
