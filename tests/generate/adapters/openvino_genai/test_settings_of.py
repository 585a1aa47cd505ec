"""A request in the words of openvino-genai."""

import pytest

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateRequest, Guide, Sampling
from paceline.generate.adapters.openvino_genai.settings_of import settings_of

ENDS = frozenset({9})


def guided(kind, source):
    return settings_of(
        GenerateRequest("x", sampling=Sampling(temperature=0, guide=Guide(kind, source))), ends=ENDS
    )


def test_greedy_has_no_dice():
    """Temperature 0 is the library's `do_sample = False`; its own ends of text stop it."""
    (settings,) = settings_of(GenerateRequest("x", sampling=Sampling(temperature=0)), ends=ENDS)

    assert settings == {
        "ignore_eos": False,
        "stop_token_ids": {9},
        "logprobs": 0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "do_sample": False,
    }


def test_every_field_has_its_word():
    """Each choice is a request of its own, with a seed of its own."""
    sampling = Sampling(
        temperature=0.5,
        top_k=4,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        seed=-1,
    )
    request = GenerateRequest("x", sampling=sampling, n=2, ignore_eos=True, stop_token_ids=(5,), logprobs=0)

    first, second = settings_of(request, ends=ENDS)

    assert first == {
        "ignore_eos": True,
        "stop_token_ids": {5},
        "logprobs": 1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "do_sample": True,
        "temperature": 0.5,
        "top_k": 4,
        "top_p": 0.9,
        "min_p": 0.1,
        "rng_seed": 4294967295,
    }
    assert second == first | {"rng_seed": 0}


def test_without_a_seed_each_request_has_its_own():
    """The library's default is the same for all."""
    seeds = {settings_of(GenerateRequest("x"), ends=ENDS)[0]["rng_seed"] for _ in range(5)}

    assert len(seeds) > 1


def test_guides_that_cannot_fail():
    """A choice among texts, and any JSON object."""
    assert guided("json", "")[0]["structured_output_config"] == {"json_schema": '{"type": "object"}'}
    assert guided("choice", '["a\\"b", "é"]')[0]["structured_output_config"] == {
        "grammar": 'root ::= "a\\"b" | "é"'
    }


@pytest.mark.parametrize("source", ["[", "[]", "{}", '[""]', "[1]"])
def test_choices_that_are_none_are_refused(source):
    """Before they stop the pipeline."""
    with pytest.raises(InvalidRequest, match="no JSON list of texts"):
        guided("choice", source)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (GenerateRequest("x", sampling=Sampling(logit_bias={1: 1.0})), "logit_bias"),
        (GenerateRequest("x", logprobs=2), "logprobs"),
        (GenerateRequest("x", prompt_logprobs=0), "prompt_logprobs"),
        (GenerateRequest("x", logprobs=0, echo=True), "prompt_logprobs"),
        *(
            (GenerateRequest("x", sampling=Sampling(guide=Guide(kind, "{}"))), "guide")
            for kind in ("json_schema", "regex", "grammar")
        ),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(request_, param):
    """With the way out: another engine."""
    with pytest.raises(InvalidRequest, match=r"openvino-genai cannot do .*generate\.engine") as refusal:
        settings_of(request_, ends=ENDS)

    assert refusal.value.param == param
