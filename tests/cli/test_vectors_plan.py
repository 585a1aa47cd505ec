"""`paceline vectors plan`, which asks no server."""

import json

import pytest

from paceline.cli import run


def test_a_plan_is_made_without_a_server(capsys):
    assert run(["vectors", "plan", "--vectors", "100M", "--dimensions", "384", "--shards", "20"]) == 0
    assert capsys.readouterr().out.startswith("100,000,000 vectors of 384 dimensions in 20 shards")

    assert run(["vectors", "plan", "--vectors", "2.5K", "--dimensions", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"] == 2500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--vectors", "many", "--dimensions", "8"],
            "--vectors many: expected a number, as 1000000, 1M or 2.5B",
        ),
        (["--vectors", "0", "--dimensions", "8"], "vectors is 0; plan for 1 to 1,000,000,000,000"),
    ],
)
def test_a_plan_of_nonsense_is_refused(capsys, arguments, message):
    assert (run(["vectors", "plan", *arguments]), capsys.readouterr().err) == (
        2,
        f"paceline: error: {message}\n",
    )
