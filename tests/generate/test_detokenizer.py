"""Text from tokens as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_models import byte_level, opened, pieces

from paceline.generate.detokenizer import Detokenizer
from paceline.generate.tokenizer import TextTokenizer


@pytest.fixture(scope="module", params=[byte_level, pieces])
def tokenizer(request: Any, tmp_path_factory: Any) -> TextTokenizer:
    return opened(tmp_path_factory.mktemp("model"), request.param())


@given(chunks=st.lists(st.lists(st.integers(0, 511), max_size=5), max_size=12), continues=st.booleans())
@settings(max_examples=200, deadline=None)
def test_pieces_joined_are_the_text_of_all_tokens(
    chunks: list[list[int]], continues: bool, tokenizer: TextTokenizer
):
    """Any tokens, also those that no text has; and no piece is ever taken back."""
    detokenizer = Detokenizer(tokenizer, continues=continues)
    joined = "".join(detokenizer.push(chunk) for chunk in chunks) + detokenizer.finish()

    assert joined == tokenizer.decode([token for chunk in chunks for token in chunk], continues=continues)


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=20)
)
@settings(max_examples=100, deadline=None)
def test_a_text_never_shows_half_a_character(text: str, tokenizer: TextTokenizer):
    detokenizer = Detokenizer(tokenizer)
    shown = [detokenizer.push([token]) for token in tokenizer.encode(text, add_special=False).tolist()]

    assert "\ufffd" not in "".join(shown)
    assert detokenizer.finish() == ""


def test_a_character_comes_with_its_last_byte(tokenizer: TextTokenizer):
    detokenizer = Detokenizer(tokenizer)
    *first, last = tokenizer.encode("𐍈", add_special=False).tolist()[-4:]

    assert [detokenizer.push([token]) for token in first] == ["", "", ""]
    assert detokenizer.halfway
    assert detokenizer.push([last]) == "𐍈"
    assert not detokenizer.halfway


def test_a_character_that_is_never_completed_is_replaced_at_the_end(tokenizer: TextTokenizer):
    detokenizer = Detokenizer(tokenizer)
    detokenizer.push(tokenizer.encode("𐍈", add_special=False).tolist()[-4:-1])

    assert detokenizer.finish() == "\ufffd"


def test_an_answer_after_a_prompt_keeps_its_first_space(tmp_path: Path):
    tokenizer = opened(tmp_path, pieces())
    ids = tokenizer.encode("Paris", add_special=False).tolist()

    assert Detokenizer(tokenizer).push(ids) == " Paris"
    assert Detokenizer(tokenizer, continues=False).push(ids) == "Paris"


def test_special_tokens_before_the_text_do_not_spend_its_first_space(tmp_path: Path):
    tokenizer = opened(tmp_path, pieces())

    assert (
        Detokenizer(tokenizer, continues=False).push([1, *tokenizer.encode("Paris", add_special=False)])
        == "Paris"
    )
