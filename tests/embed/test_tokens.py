"""Texts to ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import WORDS, MakeFolder

from paceline.base.errors import ConfigError, InvalidRequest, PayloadTooLarge
from paceline.embed.folder import ModelFolder, open_folder
from paceline.embed.tokens import Tokens


@pytest.fixture
def tokens(make_folder: MakeFolder) -> Tokens:
    return Tokens(open_folder(make_folder(window=8)))


def test_special_tokens_are_added_to_texts(tokens: Tokens) -> None:
    (encoded,) = tokens.encode(["w0 w1"])

    assert (encoded.ids.tolist(), encoded.truncated) == ([2, 4, 5, 3], False)
    assert encoded.ids.dtype == np.int32


def test_token_lists_are_used_as_they_are(tokens: Tokens) -> None:
    (encoded,) = tokens.encode([[4, 5]])

    assert (encoded.ids.tolist(), encoded.truncated) == ([4, 5], False)


def test_what_is_cut_is_said(tokens: Tokens) -> None:
    fits, long, listed = tokens.encode(["w0 w1 w2 w3 w4 w5", "w0 w1 w2 w3 w4 w5 w6", [4] * 9])

    assert (len(fits.ids), fits.truncated) == (8, False)
    assert (long.ids.tolist(), long.truncated) == ([2, 4, 5, 6, 7, 8, 9, 3], True)
    assert (listed.ids.tolist(), listed.truncated) == ([4] * 8, True)


def test_without_truncation_a_long_text_is_refused_by_its_position(tokens: Tokens) -> None:
    with pytest.raises(PayloadTooLarge, match=r"input\[5\] is longer than the model's 8 tokens") as refused:
        tokens.encode(["w0", "w0 " * 20], positions=[2, 5], truncate=False)

    assert refused.value.param == "input[5]"


def test_a_huge_text_is_not_read_to_its_end(tokens: Tokens) -> None:
    (huge,) = tokens.encode(["w1 " * 1_000_000])

    assert (len(huge.ids), huge.truncated) == (8, True)


def test_words_behind_a_lot_of_space_are_still_seen(tokens: Tokens) -> None:
    (encoded,) = tokens.encode([" " * 10_000 + "w3"])

    assert (encoded.ids.tolist(), encoded.truncated) == ([2, 7, 3], False)


@pytest.mark.parametrize(
    ("texts", "message", "param"),
    [
        (["w0", ""], r"input\[1\] is empty", "input[1]"),
        ([[]], r"input\[0\] is empty", "input[0]"),
        (
            [[4, 64]],
            r"input\[0\]\[1\] = 64 is not a token id of this model, which has 0 to 63",
            "input[0][1]",
        ),
        ([[-1]], r"input\[0\]\[0\] = -1 is not a token id", "input[0][0]"),
        ([[2**80]], r"is not a token id", "input[0][0]"),
        (["w0", "\ud800"], r"input\[1\] has a lone surrogate", "input[1]"),
    ],
)
def test_bad_input_is_refused_by_name(tokens: Tokens, texts: list[str], message: str, param: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as refused:
        tokens.encode(texts)

    assert refused.value.param == param


def test_a_window_without_room_is_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(ConfigError, match=r"embed.max_tokens = 2 leaves no room"):
        Tokens(open_folder(make_folder(), max_tokens=2))


def test_a_broken_tokenizer_file_is_refused(make_folder: MakeFolder) -> None:
    path = make_folder()
    (path / "tokenizer.json").write_text("{}")

    with pytest.raises(ConfigError, match=r"tokenizer.json cannot be read"):
        Tokens(open_folder(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS[4:]), max_size=12), min_size=1, max_size=6))
def test_a_text_has_the_same_ids_alone_and_in_company(tokens: Tokens, texts: list[list[str]]) -> None:
    lines = [" ".join(words) or " " for words in texts]

    together = [ids.ids.tolist() for ids in tokens.encode(lines)]

    assert together == [tokens.encode([line])[0].ids.tolist() for line in lines]


def test_threads_may_share_it(minilm: ModelFolder) -> None:
    tokens = Tokens(minilm)
    lines = [f"sentence number {n} of a few" for n in range(64)]
    expected = [tokens.encode([line])[0].ids.tolist() for line in lines]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda line: tokens.encode([line])[0].ids.tolist(), lines))

    assert found == expected
