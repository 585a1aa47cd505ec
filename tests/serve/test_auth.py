"""Bearer tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError, Unauthorised
from paceline.serve.auth import Tokens
from paceline.serve.policy import AuthPolicy


def test_without_tokens_the_door_is_open():
    tokens = Tokens(AuthPolicy())

    assert (tokens.required, tokens.authorise(None), tokens.authorise(b"Bearer whatever")) == (False, "", "")


def test_each_token_has_its_name():
    tokens = Tokens(AuthPolicy(token="alpha", tokens={"team-b": "beta"}))

    assert [tokens.authorise(b"Bearer alpha"), tokens.authorise(b"Bearer beta")] == ["default", "team-b"]


@pytest.mark.parametrize("header", [b"bearer alpha", b"BEARER alpha", b"Bearer  alpha "])
def test_the_scheme_is_case_insensitive_and_spaces_do_not_matter(header):
    assert Tokens(AuthPolicy(token="alpha")).authorise(header) == "default"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"alpha",
        b"Basic alpha",
        b"Bearer",
        b"Bearer ",
        b"Bearer alph",
        b"Bearer alphaa",
        b"Bearer ALPHA",
    ],
)
def test_everything_else_is_refused(header):
    with pytest.raises(Unauthorised, match=r"token|Bearer"):
        Tokens(AuthPolicy(token="alpha")).authorise(header)


@given(st.binary())
def test_no_other_header_opens_the_door(header):
    tokens = Tokens(AuthPolicy(token="correct-horse-battery-staple"))

    with pytest.raises(Unauthorised):
        tokens.authorise(header)


@pytest.mark.parametrize("token", ["", "with space", "smörgås", "line\nbreak"])
def test_tokens_no_header_can_carry_are_refused(token):
    with pytest.raises(ConfigError, match=r"auth\.tokens\.a is empty or has spaces"):
        Tokens(AuthPolicy(tokens={"a": token}))


@pytest.mark.parametrize("tokens", [{"a": "x", "b": "x"}, {"default": "y"}])
def test_a_token_or_name_given_twice_is_refused(tokens):
    with pytest.raises(ConfigError, match="give each caller its own"):
        Tokens(AuthPolicy(token="x", tokens=tokens))
