"""What a request may ask for."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateRequest, Sampling
from paceline.generate.limits import MAX_BIASES, check_sampling


def request(**fields: Any) -> GenerateRequest:
    """Fields of the request, or of its sampling."""
    own = {name: fields.pop(name) for name in list(fields) if name in GenerateRequest.__struct_fields__}
    return GenerateRequest("x", sampling=Sampling(**fields), **own)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.0, "top_p": 0.0, "min_p": 1.0, "top_k": 10**9, "seed": -(2**63)},
        {"temperature": 2.0, "presence_penalty": -2.0, "frequency_penalty": 2.0, "repetition_penalty": 1.3},
        {"n": 128, "logprobs": 20, "prompt_logprobs": 0, "max_tokens": 10**12, "stop": ("a",) * 64},
        {"logit_bias": {0: -100.0, 499: 100.0}, "stop_token_ids": (0, 499)},
    ],
)
def test_what_is_in_range_passes(fields: dict[str, Any]):
    assert check_sampling(request(**fields), 500) is None


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"temperature": -0.1}, "temperature", r"temperature = -0.1 is not in its range, 0 to 2; 0 takes"),
        ({"temperature": 2.1}, "temperature", r"2.1 is not in its range"),
        ({"temperature": nan}, "temperature", r"temperature = nan is not"),
        ({"top_p": 1.1}, "top_p", r"top_p = 1.1 is not in its range, 0 to 1; 1 keeps all tokens"),
        ({"min_p": inf}, "min_p", r"min_p = inf"),
        ({"top_k": -1}, "top_k", r"top_k = -1 .*; 0 keeps all tokens, or leave it out"),
        ({"repetition_penalty": 0.0}, "repetition_penalty", r"0.01 to 10; 1 is no penalty"),
        ({"presence_penalty": 3.0}, "presence_penalty", r"-2 to 2"),
        ({"frequency_penalty": -3.0}, "frequency_penalty", r"-2 to 2"),
        (
            {"max_tokens": 0},
            "max_tokens",
            r"max_tokens = 0 is not in its range, at least 1; leave it out to go on",
        ),
        ({"n": 0}, "n", r"n = 0 is not in its range, 1 to 128"),
        ({"n": 129}, "n", r"n = 129"),
        ({"logprobs": 21}, "logprobs", r"logprobs = 21 is not in its range, 0 to 20"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", r"prompt_logprobs = -1"),
        (
            {"logit_bias": {500: 1.0}},
            "logit_bias",
            r"logit_bias\[500\] is no token .* ids 0 to 499; leave it out",
        ),
        ({"logit_bias": {-1: 1.0}}, "logit_bias", r"logit_bias\[-1\] is no token"),
        (
            {"logit_bias": {1: 101.0}},
            "logit_bias",
            r"logit_bias\[1\] = 101.0 is not in its range, -100 to 100",
        ),
        ({"logit_bias": {1: nan}}, "logit_bias", r"logit_bias\[1\] = nan"),
        (
            {"logit_bias": dict.fromkeys(range(MAX_BIASES + 1), 0.0)},
            "logit_bias",
            r"logit_bias has 1025 tokens, more than 1024",
        ),
        ({"stop": ("x",) * 65}, "stop", r"stop has 65 strings"),
        ({"stop": ("x" * 1_000_000,)}, "stop", r"stop has 1000000 characters"),
        ({"stop_token_ids": (500,)}, "stop_token_ids", r"stop_token_ids has 500, which is no token"),
        ({"stop_token_ids": (1,) * 65}, "stop_token_ids", r"stop_token_ids has 65 ids, more than 64"),
    ],
)
def test_what_is_out_of_range_is_refused_with_its_value_and_limit(
    fields: dict[str, Any], param: str, message: str
):
    with pytest.raises(InvalidRequest, match=message) as refused:
        check_sampling(request(**fields), 500)

    assert refused.value.param == param


def test_a_small_vocabulary_has_few_alternatives():
    with pytest.raises(InvalidRequest, match=r"logprobs = 6 is not in its range, 0 to 5"):
        check_sampling(request(logprobs=6), 5)
