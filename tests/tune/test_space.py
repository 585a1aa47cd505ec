"""All settings of some knobs."""

from __future__ import annotations

import pytest

from paceline.base.errors import ConfigError
from paceline.tune.knob import Knob
from paceline.tune.space import Space

SIZE = Knob("embed.batch.max_size", 8, (4, 8, 16))
WAIT = Knob("embed.batch.max_wait_ms", 3.0, (0.0, 5.0))
EVICTION = Knob("cache.l1.eviction", "cost", ("cost", "lru"))
RATIO = Knob("ratio", 0.5, low=0.0, high=1.0)


def test_every_combination_is_a_setting_and_the_first_is_the_baseline():
    """Of changes only: a knob at its baseline is not named."""
    settings = list(Space([SIZE, EVICTION]).settings())

    assert settings == [
        {},
        {"cache.l1.eviction": "lru"},
        {"embed.batch.max_size": 4},
        {"embed.batch.max_size": 4, "cache.l1.eviction": "lru"},
        {"embed.batch.max_size": 16},
        {"embed.batch.max_size": 16, "cache.l1.eviction": "lru"},
    ]


def test_a_baseline_outside_of_the_values_is_one_more():
    """3 ms, beside 0 and 5."""
    space = Space([WAIT])

    assert list(space.settings()) == [{}, {"embed.batch.max_wait_ms": 0.0}, {"embed.batch.max_wait_ms": 5.0}]
    assert space.size == 3


@pytest.mark.parametrize(
    ("knobs", "size"),
    [
        ([SIZE, WAIT, EVICTION], 18),
        ([SIZE, RATIO], None),
        ([Knob("n", 2, low=1, high=10, integer=True)], 10),
    ],
)
def test_knows_how_large_it_is(knobs, size):
    assert Space(knobs).size == size


def test_as_many_settings_as_it_says():
    space = Space([SIZE, WAIT, EVICTION])

    assert len(list(space.settings())) == space.size


def test_a_group_is_searched_around_what_the_others_are():
    """What was chosen for the group itself is forgotten, what was chosen for others stays."""
    space = Space([SIZE, EVICTION])
    around = {"embed.batch.max_size": 4, "cache.l1.eviction": "lru"}

    assert space.groups == ("embed.batch", "cache.l1")
    assert list(space.settings("cache.l1", around)) == [{"embed.batch.max_size": 4}, around]


def test_a_full_setting_names_every_knob():
    assert Space([SIZE, EVICTION]).full({"embed.batch.max_size": 4}) == {
        "embed.batch.max_size": 4,
        "cache.l1.eviction": "cost",
    }


@pytest.mark.parametrize("knobs", [[], [Knob("x", 1, (1,))]])
def test_nothing_to_turn_is_refused(knobs):
    with pytest.raises(ConfigError, match=r"nothing to search.*--knob"):
        Space(knobs)
