"""A request in OpenAI's words."""

import json

import pytest

from paceline.base.errors import InvalidRequest
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling
from paceline.generate.adapters.upstream.body import body_of, path_of

PLAIN = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1.0,
    "top_p": 1.0,
}


def sent(request):
    return json.loads(body_of(request, "m"))


def test_a_plain_completion_sends_nothing_that_a_strict_server_could_refuse():
    """The null says that the answer may go to the context's end; OpenAI's default is 16 tokens."""
    request = GenerateRequest("once")

    assert path_of(request) == "/completions"
    assert sent(request) == PLAIN | {"prompt": "once", "max_tokens": None}


def test_token_ids_are_sent_as_they_are():
    """Completions take a list of ids in place of a text."""
    assert sent(GenerateRequest([1, 2, 3], max_tokens=4)) == PLAIN | {"prompt": [1, 2, 3], "max_tokens": 4}


def test_every_field_of_a_completion_travels():
    """OpenAI's by its names, the others by vLLM's."""
    request = GenerateRequest(
        "once",
        max_tokens=7,
        sampling=Sampling(
            temperature=0.5,
            top_k=5,
            top_p=0.9,
            min_p=0.1,
            repetition_penalty=1.1,
            presence_penalty=0.2,
            frequency_penalty=0.3,
            seed=0,
            logit_bias={5: -1.0},
        ),
        stop=("a", "b"),
        stop_token_ids=(2,),
        ignore_eos=True,
        n=2,
        echo=True,
        logprobs=3,
        truncate=True,
    )

    assert sent(request) == PLAIN | {
        "prompt": "once",
        "max_tokens": 7,
        "temperature": 0.5,
        "top_k": 5,
        "top_p": 0.9,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 0,
        "logit_bias": {"5": -1.0},
        "stop": ["a", "b"],
        "stop_token_ids": [2],
        "ignore_eos": True,
        "n": 2,
        "echo": True,
        "logprobs": 3,
        "truncate_prompt_tokens": -1,
    }


def test_a_chat_has_its_own_route_and_its_own_logprobs():
    """Tools and template arguments go along; without max_tokens a chat goes to the context's end by itself."""
    chat = Chat(
        [{"role": "user", "content": "hi"}], tools=[{"type": "function"}], template_arguments={"think": False}
    )
    request = GenerateRequest(chat, logprobs=0)

    assert path_of(request) == "/chat/completions"
    assert sent(request) == PLAIN | {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function"}],
        "chat_template_kwargs": {"think": False},
        "logprobs": True,
        "top_logprobs": 0,
    }
    assert sent(GenerateRequest(chat, max_tokens=3))["max_tokens"] == 3


@pytest.mark.parametrize(
    ("guide", "fields"),
    [
        (Guide("json", ""), {"response_format": {"type": "json_object"}}),
        (
            Guide("json_schema", '{"type": "integer"}'),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "integer"}, "strict": True},
                }
            },
        ),
        (Guide("choice", '["a", "b"]'), {"structured_outputs": {"choice": ["a", "b"]}}),
        (Guide("regex", "a+"), {"structured_outputs": {"regex": "a+"}}),
        (Guide("grammar", 'start: "a"'), {"structured_outputs": {"grammar": 'start: "a"'}}),
    ],
)
def test_guides(guide, fields):
    """JSON is asked for in OpenAI's words, everything else in vLLM's."""
    assert sent(GenerateRequest("x", sampling=Sampling(guide=guide))) == PLAIN | fields | {
        "prompt": "x",
        "max_tokens": None,
    }


def test_a_guide_that_is_not_json_is_refused_here():
    """It would make the whole body unreadable to the upstream."""
    with pytest.raises(InvalidRequest, match=r"the guide \(json_schema\) is not JSON"):
        sent(GenerateRequest("x", sampling=Sampling(guide=Guide("json_schema", "{"))))


def test_prompt_logprobs_come_with_echo_or_not_at_all():
    """A stream tells the prompt's log-probabilities only where the prompt is part of the text."""
    with pytest.raises(InvalidRequest, match="prompt_logprobs cannot be had") as refusal:
        sent(GenerateRequest("x", prompt_logprobs=1))

    assert refusal.value.param == "prompt_logprobs"
    assert sent(GenerateRequest("x", prompt_logprobs=1, echo=True, logprobs=1))["echo"] is True
