"""Texts to ids, ids to bytes and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_models import byte_level, config, folder, opened, pieces
from tokenizers import Tokenizer, decoders, models

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.generate.tokenizer import TextTokenizer

KINDS = {"byte-level": byte_level(), "pieces": pieces()}
texts = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40
) | st.sampled_from(["The capital of Italy", "  two  spaces", "日本語 ✅", "\n\n\tx"])


@pytest.fixture(scope="module", params=KINDS)
def kind(request: Any) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind: str, tmp_path_factory: Any) -> TextTokenizer:
    return opened(tmp_path_factory.mktemp(kind), KINDS[kind])


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_text_of_ids_is_the_librarys(data: Any, kind: str, tokenizer: TextTokenizer):
    """For all that is a text; broken characters are replaced here as Python does it."""
    text = data.draw(texts)
    ids = tokenizer.encode(text, add_special=True)

    assert ids.dtype == np.int32
    assert tokenizer.decode(ids.tolist()) == KINDS[kind].decode(ids.tolist(), skip_special_tokens=True)


@given(text=texts)
@settings(max_examples=100, deadline=None)
def test_a_text_comes_back_as_it_was(text: str, tokenizer: TextTokenizer):
    assert tokenizer.decode(tokenizer.encode(text, add_special=False).tolist()) == text


def test_a_text_that_goes_on_keeps_its_first_space(tmp_path: Path):
    tokenizer = opened(tmp_path, KINDS["pieces"])
    ids = tokenizer.encode("Paris is", add_special=False).tolist()

    assert tokenizer.decode(ids) == "Paris is"
    assert tokenizer.decode(ids, continues=True) == " Paris is"
    assert tokenizer.drops_first_space


def test_special_tokens_are_put_when_asked_for(tmp_path: Path):
    tokenizer = opened(tmp_path, KINDS["pieces"])

    assert tokenizer.encode("Paris", add_special=True)[0] == 1
    assert tokenizer.encode("Paris", add_special=False)[0] != 1


def test_the_configuration_may_ask_for_a_beginning_that_the_tokenizer_does_not_put(tmp_path: Path):
    tokenizer = opened(
        tmp_path,
        KINDS["byte-level"],
        tokenizer_config={"add_bos_token": True, "bos_token": {"content": "<s>"}},
    )

    assert tokenizer.encode("Paris", add_special=True)[0] == 0
    assert tokenizer.encode("<s>Paris", add_special=True).tolist().count(0) == 1
    assert 0 not in tokenizer.encode("Paris", add_special=False)


def test_special_ids_come_from_three_files(tmp_path: Path):
    folder(
        tmp_path,
        KINDS["byte-level"],
        tokenizer_config={"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": False},
        generation_config={"eos_token_id": [2, 1]},
    )
    special = TextTokenizer.open(tmp_path, config(eos_token_ids=(1, 7))).special

    assert (special.bos, special.eos) == (0, (1, 2, 7))
    assert special.ids == {0, 1, 2}
    assert special.names == {"bos_token": "<s>", "eos_token": "</s>"}


def test_a_folder_with_a_tokenizer_only_is_enough(tmp_path: Path):
    folder(tmp_path, KINDS["byte-level"])
    special = TextTokenizer.open(tmp_path, config(eos_token_ids=(1,), bos_token_id=0)).special

    assert (special.bos, special.eos, special.names) == (0, (1,), {})


def test_each_token_has_its_own_text(tokenizer: TextTokenizer, kind: str):
    ids = tokenizer.encode("Rome ✅ of", add_special=False).tolist()
    expected = " Rome ✅ of" if kind == "pieces" else "Rome ✅ of"

    assert b"".join(tokenizer.token_bytes(token) for token in ids).decode() == expected


def test_half_a_character_is_shown_by_its_bytes(tokenizer: TextTokenizer):
    ids = tokenizer.encode("𐍈", add_special=False).tolist()[-4:]

    assert [tokenizer.token_text(token) for token in ids] == [r"\xf0", r"\x90", r"\x8d", r"\x88"]


def test_special_tokens_have_a_name_and_no_text(tmp_path: Path):
    tokenizer = opened(tmp_path, KINDS["byte-level"])

    assert (tokenizer.token_text(2), tokenizer.token_bytes(2)) == ("<|user|>", b"")


def test_tokens_added_later_are_text(tmp_path: Path):
    tokenizer = opened(tmp_path, KINDS["byte-level"])
    call, root = (KINDS["byte-level"].token_to_id(text) for text in ("<tool_call>", "√"))

    assert tokenizer.decode([call, root]) == "<tool_call>√"


def test_ids_without_a_token_are_no_text(tokenizer: TextTokenizer):
    assert (tokenizer.decode([511]), tokenizer.token_text(511), tokenizer.vocab_size) == ("", "", 512)


def test_words_are_joined_with_spaces(tmp_path: Path):
    words = Tokenizer(models.WordLevel({"red": 0, "green": 1}, unk_token="red"))
    tokenizer = opened(tmp_path, words)

    assert tokenizer.decode([0, 1]) == words.decode([0, 1]) == "red green"


def test_more_ids_than_the_model_has_are_a_mismatch(tmp_path: Path):
    folder(tmp_path, KINDS["byte-level"])

    with pytest.raises(ConfigError, match=r"tokenizer mismatch: .* has ids up to 401, but the model has 300"):
        TextTokenizer.open(tmp_path, config(300))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer", None, r"tokenizer.json is missing; save the model with a fast tokenizer"),
        ("tokenizer", "{}", r"tokenizer.json cannot be read \(.*\); copy it again"),
        ("tokenizer_config", "{", r"tokenizer_config.json cannot be read"),
        ("generation_config", "[]", r"generation_config.json is not a JSON object"),
    ],
)
def test_a_broken_folder_is_refused_by_its_file(tmp_path: Path, name: str, content: str | None, message: str):
    folder(tmp_path, KINDS["byte-level"])
    file = tmp_path / f"{name}.json"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    with pytest.raises(ConfigError, match=message):
        TextTokenizer.open(tmp_path, config())


@pytest.mark.parametrize(
    "decoder", [decoders.WordPiece(), decoders.Replace("x", "y"), decoders.Strip("_", 2, 0)]
)
def test_a_vocabulary_that_cannot_be_read_token_by_token_is_refused(tmp_path: Path, decoder: Any):
    other = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    other.decoder = decoder

    with pytest.raises(ConfigError, match=r"a decoder of \w+ is not supported"):
        opened(tmp_path, other)


def test_a_lone_surrogate_is_no_text(tokenizer: TextTokenizer):
    with pytest.raises(InvalidRequest, match="lone surrogate") as refused:
        tokenizer.encode("\ud800", add_special=True)

    assert refused.value.param == "prompt"


def test_the_callers_ids_are_checked(tokenizer: TextTokenizer):
    assert tokenizer.check_ids([5, 511]).tolist() == [5, 511]
    with pytest.raises(
        InvalidRequest, match=r"prompt\[1\] = 512 is not a token id of this model, which has 0 to 511"
    ):
        tokenizer.check_ids([5, 512])
