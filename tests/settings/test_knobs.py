"""Knobs: each says what it is, and reads and names its values."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.settings.knobs import dotted, inline_toml, split, toml
from paceline.settings.tree import KNOBS, TREE, Settings, iter_knobs


def test_every_field_of_the_tree_is_a_knob_with_help():
    assert [knob.name for knob in iter_knobs() if not knob.help.endswith((".", "`"))] == []


def test_no_policy_has_more_than_a_dozen_fields():
    def structs(defaults):
        yield defaults
        for name in defaults.__struct_fields__:
            if isinstance(inner := getattr(defaults, name), msgspec.Struct):
                yield from structs(inner)

    crowded = [type(each).__name__ for each in structs(Settings()) if len(each.__struct_fields__) > 12]

    assert crowded == []


def test_every_default_is_a_value_it_would_accept():
    refused = [knob.name for knob in iter_knobs() if knob.read(knob.default, text=False) != knob.default]

    assert refused == []


def test_every_default_is_read_back_from_its_spelling():
    """What `config show` prints can be given to `--set` again."""
    texts = {
        knob: knob.default if isinstance(knob.default, str) else toml(knob.default)
        for knob in KNOBS.values()
        if knob.entry is None
    }

    assert [knob.name for knob, text in texts.items() if knob.read(text, text=True) != knob.default] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("embed.batch.max_cost", "an integer 0..1048576"),
        ("embed.batch.ageing_s", "a number > 0, <= 3600"),
        ("cache.ttl.hot_s", "a number > 0"),
        ("cache.enabled", "true or false"),
        ("embed.model", "a text"),
        ("redis.prefix", "a text of 1 or more characters"),
        ("limits.backend", "one of local, redis"),
        ("compression.algorithms", "a list of zstd, gzip"),
        ("limits.endpoints", "a table of rpm, rph"),
        ("auth.tokens", "a table"),
    ],
)
def test_it_says_what_it_expects(name, expected):
    assert KNOBS[name].expected() == expected


def test_tuner_flags_come_from_the_field():
    knob = KNOBS["embed.batch.max_size"]

    assert (knob.kind, knob.ge, knob.le, knob.unit, knob.live, knob.tune, knob.quality, knob.secret) == (
        int,
        1,
        4096,
        "rows",
        True,
        True,
        False,
        False,
    )


def test_choices_are_listed_for_the_tuner():
    assert KNOBS["embed.precision"].choices == ("auto", "fp32", "bf16", "int8")


def test_what_the_tuner_turns_has_values_to_try():
    assert [knob.name for knob in iter_knobs() if knob.tune != bool(knob.grid)] == []


def test_every_value_to_try_is_one_that_the_setting_takes():
    wrong = [
        (knob.name, value)
        for knob in iter_knobs()
        for value in knob.grid
        if knob.read(value, text=False) != value or type(value) is not type(knob.default)
    ]

    assert wrong == []


def test_what_a_setting_spends_is_one_word():
    assert {knob.cost for knob in iter_knobs()} <= {"", "memory", "cpu", "latency"}


def test_a_secret_is_hidden_unless_it_is_the_default():
    token = KNOBS["auth.token"]

    assert (token.shown(""), token.shown("abc")) == ('""', '"***"')


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False), st.lists(st.text())))
def test_toml_spelling_is_read_back(value):
    assert inline_toml(toml(value)) == value


@given(st.text(min_size=1).filter(lambda key: not {'"', "'"} & {key[0], key[-1]}), st.booleans())
def test_a_key_of_the_users_own_may_hold_anything(key, quoted):
    """Shells eat quotes, so the name is understood with and without them."""
    spelling = f'"{key}"' if quoted else key

    assert split(TREE, f"limits.endpoints.{spelling}.rpm") == ("limits", "endpoints", key, "rpm")


def test_dotted_quotes_only_what_toml_would_not_take_bare():
    assert dotted(("limits", "endpoints", "/v1/infer", "rpm")) == 'limits.endpoints."/v1/infer".rpm'
