"""Generation as its users meet it: a process, real sockets, the demo model on the engine of this machine, OpenAI's client."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import time

import httpx
import openai
import pytest
from running import refused, running

MODEL = "paceline-demo"
QUESTION = [{"role": "user", "content": "What is 12 + 30?"}]
WRITING = ("embed.model=", "generate.model=demo", "generate.kv.max_bytes=67108864")


@pytest.fixture(scope="module")
def writer(state_dir):
    with running(*WRITING, "admin.token=secret", state_dir=state_dir) as started:
        yield started


@pytest.fixture(scope="module")
def client(writer):
    with openai.OpenAI(base_url=writer.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def metric(url: str, name: str) -> float:
    page = httpx.get(url + "/metrics").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in page.splitlines()
        if line.split("{")[0].split(" ")[0] == name
    )


def until(true, timeout_s: float = 10.0) -> None:
    """Look again and again: another process changes what is looked at."""
    give_up_at = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


# -- the official client ------------------------------------------------------------------------------------------


def test_the_demo_model_answers_its_curriculum(client):
    reply = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)

    assert "42" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens > 10
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_stream_tells_the_same_piece_by_piece(client):
    arguments = {
        "model": MODEL,
        "prompt": "In the beginning",
        "max_tokens": 40,
        "temperature": 0.8,
        "seed": 5,
    }
    whole = client.completions.create(**arguments)
    pieces = list(client.completions.create(**arguments, stream=True, stream_options={"include_usage": True}))

    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == whole.choices[0].text
    assert len(pieces) > 10
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_the_same_seed_gives_the_same_text_in_any_company(client):
    """Alone, and among 24 others whose prompts fill its steps."""
    arguments = {
        "model": MODEL,
        "prompt": "And it came to pass",
        "max_tokens": 32,
        "temperature": 1.0,
        "seed": 11,
    }
    alone = client.completions.create(**arguments).choices[0].text

    def other(number: int) -> str:
        return (
            client.completions.create(
                model=MODEL, prompt=f"{number} " * (5 * number + 1), max_tokens=16, seed=number
            )
            .choices[0]
            .text
        )

    with concurrent.futures.ThreadPoolExecutor(25) as threads:
        others = [threads.submit(other, number) for number in range(24)]
        among = threads.submit(lambda: client.completions.create(**arguments).choices[0].text)
        assert among.result() == alone
        assert all(one.result() is not None for one in others)


def test_choices_log_probabilities_and_stops(client):
    reply = client.completions.create(
        model=MODEL,
        prompt="the the the",
        n=3,
        max_tokens=12,
        temperature=1.5,
        logprobs=2,
        seed=1,
        stop=["zzz"],
    )

    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    first = reply.choices[0].logprobs
    assert len(first.tokens) == len(first.token_logprobs) == len(first.top_logprobs)
    assert all(value <= 0.0 for value in first.token_logprobs)


def test_an_echo_scores_the_prompt(client):
    reply = client.completions.create(
        model=MODEL, prompt="What is 12", max_tokens=1, echo=True, logprobs=0, temperature=0
    )

    assert reply.choices[0].text.startswith("What is 12")
    assert reply.choices[0].logprobs.token_logprobs[0] is None


def test_json_that_a_schema_describes(client):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Ada is 36. Write it as JSON."}],
        temperature=0,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    )

    told = json.loads(reply.choices[0].message.content)
    assert set(told) == {"name", "age"}
    assert isinstance(told["age"], int)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "gpt-9"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 100_000}, openai.BadRequestError, "context of 1024"),
        ({"prompt": ""}, openai.BadRequestError, "prompt is empty"),
        ({"prompt": "word " * 3000}, openai.APIStatusError, "1024"),
        ({"prompt": [5000]}, openai.BadRequestError, "4095"),
        ({"stop": ["x" * 5000]}, openai.BadRequestError, "stop"),
        ({"extra_body": {"guided_regex": "("}}, openai.BadRequestError, "regular expression"),
        ({"logit_bias": {"5000": 1}}, openai.BadRequestError, "logit_bias"),
    ],
)
def test_what_cannot_be_raises_the_clients_own_error_with_our_words(client, arguments, error, words):
    with pytest.raises(error, match=words):
        client.completions.create(**{"model": MODEL, "prompt": "hi", "max_tokens": 4, **arguments})


def test_a_prompt_that_is_too_long_is_a_413_unless_its_beginning_may_go(writer):
    body = {"prompt": "word " * 3000, "max_tokens": 4}
    refused_ = httpx.post(f"{writer.url}/v1/completions", json=body)
    cut = httpx.post(f"{writer.url}/v1/completions", json=body | {"truncate_prompt": True})

    assert (refused_.status_code, refused_.json()["code"]) == (413, "payload_too_large")
    assert cut.json()["usage"]["prompt_tokens"] == 1020


# -- the other doors ----------------------------------------------------------------------------------------------


def test_scores_prefer_the_right_end(writer):
    body = {
        "context": "<|im_start|>user\nWhat is 12 + 30?<|im_end|>\n<|im_start|>assistant\n",
        "continuations": ["42", "57"],
    }
    told = httpx.post(f"{writer.url}/v1/score", json=body).json()["data"]

    assert told[0]["logprob"] > told[1]["logprob"]
    assert len(told[0]["tokens"]) == len(told[0]["token_logprobs"])


@pytest.mark.parametrize("path", ["/v1/inference", "/v1/infer"])
def test_the_sources_doors_answer(writer, path):
    body = {"prompt": "In the beginning", "max_tokens": 8, "temperature": 0.7}
    if path == "/v1/infer":
        body["task"] = "generate"
    reply = httpx.post(writer.url + path, json=body)

    assert reply.status_code == 200
    assert reply.json()["usage"]["completion_tokens"] <= 8


def test_an_exact_answer_is_kept(writer):
    body = {"prompt": "kept or not", "max_tokens": 6, "temperature": 0}
    tiers = [
        httpx.post(f"{writer.url}/v1/completions", json=body).headers["x-paceline-cache"] for _ in range(2)
    ]

    assert tiers == ["miss", "l1"]


def test_a_shared_beginning_is_computed_once(writer):
    long = "Once upon a time there was a word and another word. " * 12
    used = [
        httpx.post(f"{writer.url}/v1/completions", json={"prompt": long + end, "max_tokens": 2}).json()[
            "usage"
        ]
        for end in ("One", "Two")
    ]

    assert used[0]["prompt_tokens_details"]["cached_tokens"] == 0
    assert used[1]["prompt_tokens_details"]["cached_tokens"] >= 96


def test_a_caller_that_leaves_frees_everything_at_once(writer):
    """Sixteen long choices are under way; what they would have drawn is not drawn."""
    drawn = "paceline_engine_drawn_tokens_total"
    before = metric(writer.url, drawn)
    body = {"prompt": "a", "n": 16, "max_tokens": 1000, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{writer.url}/v1/completions", json=body) as reply:
        next(reply.iter_lines())

    until(lambda: metric(writer.url, "paceline_engine_running_sequences") == 0)
    assert metric(writer.url, "paceline_kv_blocks_held") == 0
    assert 0 < metric(writer.url, drawn) - before < 16_000


def test_the_steps_are_told_to_whoever_has_the_token(writer):
    told = httpx.get(f"{writer.url}/admin/steps", headers={"authorization": "Bearer secret"}).json()

    assert told["next"] > 0
    assert told["steps"][-1][4] > 0.0
    assert told["time"]["fixed_s"] >= 0.0
    assert httpx.get(f"{writer.url}/admin/steps").status_code == 401


def test_a_schedule_changes_while_it_runs(writer):
    changed = httpx.patch(
        f"{writer.url}/admin/settings",
        json={
            "changes": {"generate.schedule.max_batch_tokens": 64, "generate.schedule.speculative_tokens": 3}
        },
        headers={"authorization": "Bearer secret"},
    )
    reply = httpx.post(
        f"{writer.url}/v1/completions", json={"prompt": "a b " * 100, "max_tokens": 40, "temperature": 0}
    )

    assert changed.status_code == 200
    assert reply.status_code == 200
    assert metric(writer.url, "paceline_engine_guessed_tokens_total") > 0


# -- processes ----------------------------------------------------------------------------------------------------


def test_a_stream_ends_before_a_stopping_server_does(state_dir):
    with running(*WRITING, state_dir=state_dir) as server:
        body = {"prompt": "a", "max_tokens": 300, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as reply:
            lines = reply.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            rest = list(lines)
        status = server.process.wait(60)

    assert "data: [DONE]" in rest
    assert status == 0


def test_several_workers_share_one_engine(state_dir):
    with running(*WRITING, "serve.workers=2", state_dir=state_dir) as server:
        body = {"prompt": "word " * 60, "max_tokens": 12, "seed": 3}
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            texts = list(
                threads.map(
                    lambda _: httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).json(),
                    range(16),
                )
            )
        cards = httpx.get(f"{server.url}/v1/models").json()["data"]

    assert len({one["choices"][0]["text"] for one in texts}) == 1
    assert sum(one["usage"]["prompt_tokens_details"]["cached_tokens"] > 0 for one in texts) >= 8
    assert [card["id"] for card in cards] == [MODEL]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--generate", "/nowhere"], "/nowhere"),
        (["--set", "generate.model=demo", "--set", "generate.context_tokens=9999"], "9999"),
        (["--set", "generate.model=demo", "--set", "generate.precision=int3"], "int3"),
    ],
)
def test_a_model_that_cannot_be_served_stops_the_start_with_one_line(settings, words, state_dir):
    status, told = refused(
        "--set", "embed.model=", "--set", f"serve.state_dir={state_dir}", "--port", "0", *settings
    )

    assert status == 2
    assert words in told
    assert told.count("\n") == 1


def test_a_server_of_ours_stands_in_front_of_another(writer, state_dir):
    settings = (
        "embed.model=",
        "generate.engine=upstream",
        f"generate.upstream.url={writer.url}",
        "generate.name=front",
    )
    arguments = {"prompt": "In the beginning", "max_tokens": 16, "temperature": 0.9, "seed": 4}
    with running(*settings, f"generate.upstream.model={MODEL}", state_dir=state_dir) as server:
        with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as front:
            streamed = front.completions.create(model="front", **arguments, stream=True)
            text = "".join(piece.choices[0].text for piece in streamed if piece.choices)
        refused_ = httpx.post(
            f"{server.url}/v1/completions", json={"prompt": "word " * 3000, "max_tokens": 4}
        )

    whole = httpx.post(f"{writer.url}/v1/completions", json=arguments).json()
    assert text == whole["choices"][0]["text"]
    assert refused_.status_code in {400, 413}
    assert "1024" in refused_.json()["detail"]
