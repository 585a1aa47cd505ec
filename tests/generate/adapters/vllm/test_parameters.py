"""A request in the words of vLLM."""

import pytest

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateRequest, Guide, Sampling
from paceline.generate.adapters.vllm.parameters import parameters_of

PLAIN = {
    "n": 1,
    "max_tokens": 7,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": None,
    "stop": [],
    "stop_token_ids": [],
    "ignore_eos": False,
    "logprobs": None,
    "prompt_logprobs": None,
}


def test_a_plain_request_has_our_defaults():
    """vLLM's own come from the model's folder."""
    assert parameters_of(GenerateRequest("x"), max_tokens=7) == PLAIN


def test_every_field_has_its_word():
    """They are the same, nearly all."""
    request = GenerateRequest(
        "x",
        sampling=Sampling(0.5, 4, 0.9, 0.1, 1.1, 0.2, 0.3, 0, {5: -1.0}),
        stop=("a",),
        stop_token_ids=(2,),
        ignore_eos=True,
        n=2,
        logprobs=3,
        prompt_logprobs=4,
    )

    assert parameters_of(request, max_tokens=7) == {
        "n": 2,
        "max_tokens": 7,
        "temperature": 0.5,
        "top_k": 4,
        "top_p": 0.9,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 0,
        "stop": ["a"],
        "stop_token_ids": [2],
        "ignore_eos": True,
        "logprobs": 3,
        "prompt_logprobs": 4,
        "logit_bias": {5: -1.0},
    }


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        (Guide("json", ""), {"json_object": True}),
        (Guide("json_schema", "{}"), {"json": "{}"}),
        (Guide("choice", '["a"]'), {"choice": ["a"]}),
        (Guide("regex", "a+"), {"regex": "a+"}),
        (Guide("grammar", "start: A"), {"grammar": "start: A"}),
    ],
)
def test_guides(guide, said):
    """Each kind has its field."""
    request = GenerateRequest("x", sampling=Sampling(guide=guide))

    assert parameters_of(request, max_tokens=7) == PLAIN | {"structured_outputs": said}


def test_choices_that_are_none_are_refused():
    """The others vLLM reads itself."""
    with pytest.raises(InvalidRequest, match="no JSON list"):
        parameters_of(GenerateRequest("x", sampling=Sampling(guide=Guide("choice", "["))), max_tokens=7)
