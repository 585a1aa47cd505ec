"""Prompts are as long as asked, different from each other, and the same for a seed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.load.words import WORDS, Prompter


def test_the_words_are_plain_and_none_comes_twice():
    assert list(WORDS) == sorted(set(WORDS))
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 10**9), st.data())
def test_a_prompt_has_its_length_and_is_the_same_again(seed, words, count, data):
    turn = data.draw(st.integers(0, count - 1))
    prompt = Prompter(seed, count).prompt(turn, words)

    assert len(prompt.split(" ")) == words
    assert prompt == Prompter(seed, count).prompt(turn, words)


@pytest.mark.parametrize("words", [1, 2, 3, 16])
def test_no_two_prompts_of_one_length_are_equal(words):
    prompter = Prompter(1, 5_000)

    assert len({prompter.prompt(turn, words) for turn in range(5_000)}) == 5_000


def test_another_seed_makes_other_prompts():
    one, other = ({Prompter(seed, 300).prompt(turn, 16) for turn in range(300)} for seed in (1, 2))

    assert not one & other


def test_prompts_part_within_their_first_words():
    """So that a server's prefix cache finds nothing."""
    prompter = Prompter(1, 1_000)

    assert len({tuple(prompter.prompt(turn, 64).split()[:2]) for turn in range(1_000)}) == 1_000
