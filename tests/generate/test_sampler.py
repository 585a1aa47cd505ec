"""From logits to tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_models import byte_level

from paceline.base.generation import Guide, Sampling
from paceline.generate.guide import GuideFactory
from paceline.generate.sampler import Drawn, Row, Sampler, score

VOCAB = 512
GREEDY = Sampling(temperature=0.0)
TOKENIZER = byte_level()
GUIDES = GuideFactory(TOKENIZER.to_str(), VOCAB, (1,))

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 2.0]),
    top_k=st.sampled_from([0, 1, 20]),
    top_p=st.sampled_from([0.5, 1.0]),
    min_p=st.sampled_from([0.0, 0.1]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    frequency_penalty=st.sampled_from([0.0, -0.5]),
    logit_bias=st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-100, 100), max_size=3),
    guide=st.none() | st.just(Guide("regex", "[a-z ]+")),
)


def row(sampling: Sampling = GREEDY, **fields: Any) -> Row:
    fields = {"seed": 7, "prompt": np.array([3, 4], np.int32), "output": []} | fields
    guide = sampling.guide
    return Row(sampling, **fields, matcher=GUIDES.matcher(guide) if guide else None)


def logits(*highest: int) -> np.ndarray:
    """One row for each: zero but for its highest token."""
    rows = np.zeros((len(highest), VOCAB), np.float32)
    for place, token in enumerate(highest):
        rows[place, token] = 9.0
    return rows


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def sampler(request: Any) -> Sampler:
    return Sampler(VOCAB, compiled=request.param)


@given(st.integers(0, 2**32), st.lists(samplings, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_row_gets_its_token_whatever_the_batch_and_with_or_without_the_compiler(
    seed: int, wanted: list[Sampling]
):
    random = np.random.default_rng(seed)
    table = (random.standard_normal((len(wanted), VOCAB)) * 4).astype(np.float32)

    def rows() -> list[Row]:
        return [
            row(sampling, seed=seed, output=[5, 5, 9][place:], logprobs=place % 3)
            for place, sampling in enumerate(wanted)
        ]

    together = Sampler(VOCAB, compiled=True).sample(table.copy(), rows())
    alone = [
        Sampler(VOCAB, compiled=False).sample(table[[place]], [one])[0] for place, one in enumerate(rows())
    ]

    assert together == alone
    assert not any(drawn.failed for drawn in together)


def test_the_same_seed_gives_the_same_token_and_another_place_another_one(sampler: Sampler):
    flat = np.zeros((40, VOCAB), np.float32)
    drawn = sampler.sample(flat.copy(), [row(Sampling(), output=[0] * (place // 2)) for place in range(40)])
    tokens = [one.token for one in drawn]

    assert tokens[::2] == tokens[1::2]
    assert len(set(tokens)) > 15


def test_a_row_with_a_nan_fails_and_the_others_live(sampler: Sampler):
    table = logits(11, 12, 13, 14)
    table[1, 100] = np.nan
    table[2, 100] = np.inf
    drawn = sampler.sample(table, [row(), row(), row(logprobs=1), row()])

    assert [one.token for one in drawn] == [11, -1, -1, 14]
    assert (
        drawn[1].failed == "the model's logits have a NaN; its weights or its precision are broken, try fp32"
    )
    assert drawn[2].failed.startswith("the model's logits have an infinity")
    assert (drawn[0].failed, drawn[2].logprob, drawn[2].top) == ("", None, ())


def test_penalties_come_before_the_bias_and_the_bias_before_the_guide(sampler: Sampler):
    """The likeliest is penalised below the second, the bias lifts a third, and the guide strikes that one out."""
    a, b = TOKENIZER.token_to_id("a"), TOKENIZER.token_to_id("Z")
    table = logits(3, 3, 3)
    table[:, a] = 8.0
    penalised, biased, guided = sampler.sample(
        table,
        [
            row(Sampling(temperature=0, repetition_penalty=2.0)),
            row(Sampling(temperature=0, repetition_penalty=2.0, logit_bias={b: 20.0})),
            row(
                Sampling(
                    temperature=0, repetition_penalty=2.0, logit_bias={b: 20.0}, guide=Guide("regex", "[a-z]")
                )
            ),
        ],
    )

    assert [penalised.token, biased.token, guided.token] == [a, b, a]


def test_output_tokens_count_for_the_penalties(sampler: Sampler):
    table = logits(50)
    table[0, 60] = 8.5
    (drawn,) = sampler.sample(table, [row(Sampling(temperature=0, frequency_penalty=0.3), output=[50, 50])])

    assert drawn.token == 60


def test_logprobs_are_the_models_own(sampler: Sampler):
    """Whatever penalties, bias and temperature make of the row."""
    table = logits(40)
    table[0, 41] = 8.0
    total = np.log(np.exp(table[0].astype(np.float64)).sum())
    (drawn,) = sampler.sample(
        table, [row(Sampling(temperature=0, logit_bias={41: 50.0, 40: -50.0}), logprobs=2)]
    )

    assert drawn.token == 41
    assert drawn.logprob == pytest.approx(8.0 - total, abs=1e-5)
    assert [token for token, _ in drawn.top] == [40, 41]
    assert [value for _, value in drawn.top] == pytest.approx([9.0 - total, 8.0 - total], abs=1e-5)


def test_logprobs_are_shown_to_those_who_asked(sampler: Sampler):
    drawn = sampler.sample(logits(1, 2), [row(), row(logprobs=0)])

    assert drawn[0] == Drawn(1)
    assert drawn[1].logprob is not None
    assert drawn[1].top == ()


def test_a_row_that_bias_and_guide_leave_nothing_fails(sampler: Sampler):
    letter = TOKENIZER.token_to_id("a")
    table = np.full((1, VOCAB), -np.inf, np.float32)
    table[0, letter + 1] = 1.0
    (drawn,) = sampler.sample(table, [row(Sampling(guide=Guide("regex", "a")))])

    assert drawn == Drawn(-1, failed="no token may come next: the guide and the logit_bias leave none")


def test_a_guide_that_breaks_down_fails_its_row_and_the_others_live(sampler: Sampler):
    guided = row(Sampling(guide=Guide("regex", "ab")))
    assert guided.matcher is not None
    with pytest.raises(Exception, match="cannot be followed further"):
        guided.matcher.accept(2)
    drawn = sampler.sample(logits(1, 2), [guided, row()])

    assert drawn[0].token == -1
    assert drawn[0].failed.startswith("the guide cannot be followed further: ")
    assert drawn[1] == Drawn(2)


def test_an_empty_batch_gives_nothing(sampler: Sampler):
    assert sampler.sample(np.empty((0, VOCAB), np.float32), []) == []


def test_warming_up_draws_nothing_for_anybody(sampler: Sampler):
    sampler.warm_up()

    assert sampler.sample(logits(5), [row()]) == [Drawn(5)]


def test_scoring_tells_of_given_tokens_what_drawing_them_would_have_told(sampler: Sampler):
    table = logits(5, 6)
    drawn = sampler.sample(table, [row(logprobs=2), row(logprobs=2)])

    assert score(table, np.array([5, 6], np.int32), 2) == drawn
    assert score(table, np.array([6, 6], np.int32), 0)[0].logprob == pytest.approx(drawn[0].top[1][1])


def test_a_row_begins_without_output():
    assert Row(GREEDY, 7, np.zeros(0, np.int32)).output == []
