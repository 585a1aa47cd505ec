"""The service over a real engine, tokenizer and guides; the model's next token is a hash of what it sees."""

from __future__ import annotations

import asyncio
import json
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from text_models import byte_level, opened
from token_runner import TokenRunner, spell

from paceline.base.api import ModelCard
from paceline.base.errors import (
    CircuitOpen,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
)
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling, ScoreRequest
from paceline.flow.breaker import Breaker, BreakerPolicy
from paceline.generate.admission import Admission, AdmissionPolicy
from paceline.generate.chat_template import ChatTemplate
from paceline.generate.engine import Engine
from paceline.generate.guide import GuideFactory
from paceline.generate.sampler import Row, Sampler
from paceline.generate.scheduler import SchedulePolicy
from paceline.generate.sequence import Sequence
from paceline.generate.service import GenerateService

with TemporaryDirectory() as _folder:
    TOKENIZER = opened(
        Path(_folder), byte_level(), tokenizer_config={"bos_token": "<s>", "eos_token": "</s>"}
    )
VOCAB = TOKENIZER.vocab_size
EXACT = Sampling(temperature=0.0)
TEMPLATE = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}"


def service(runner: TokenRunner, **options) -> GenerateService:
    loop = asyncio.get_running_loop()
    made: list[GenerateService] = []
    engine = Engine(
        runner,
        Sampler(VOCAB),
        SchedulePolicy(),
        lambda out: loop.call_soon_threadsafe(made[0].receive, out),
    )
    made.append(
        GenerateService(
            card=ModelCard(id="hash", created=1, task="generate", max_tokens=engine.context_tokens),
            engine=engine,
            tokenizer=TOKENIZER,
            template=ChatTemplate({"default": TEMPLATE}, TOKENIZER.special.names),
            guides=GuideFactory(TOKENIZER.json, VOCAB, TOKENIZER.special.eos),
            admission=Admission(options.pop("admission", AdmissionPolicy()), engine),
            breaker=Breaker(options.pop("breaker", BreakerPolicy())),
        )
    )
    engine.start()
    return made[0]


def served(act, runner: TokenRunner | None = None, **options):
    """Run `act(service, runner)` and close the service."""
    runner = runner or TokenRunner(vocab=VOCAB)

    async def main():
        one = service(runner, **options)
        try:
            return await asyncio.wait_for(act(one, runner), 30)
        finally:
            await one.close()

    return asyncio.run(main())


def asked(prompt="Paris is", **fields) -> GenerateRequest:
    return GenerateRequest(
        prompt=prompt, **{"sampling": EXACT, "max_tokens": 8, "ignore_eos": True, **fields}
    )


async def events_of(one: GenerateService, request: GenerateRequest, deadline_at: float = inf):
    generation = await one.start(request, deadline_at=deadline_at)
    return [event async for events in generation for event in events], generation


def ids(text: str, *, add_special: bool = True) -> list[int]:
    return TOKENIZER.encode(text, add_special=add_special).tolist()


def test_text_tokens_usage_and_timings_agree():
    async def act(one, runner):
        return await events_of(one, asked())

    events, generation = served(act)
    tokens = [token for event in events for token in event.tokens]

    assert tokens == spell(ids("Paris is"), 8, VOCAB)
    assert "".join(event.text for event in events) == TOKENIZER.decode(tokens, continues=True)
    assert [event.finish_reason for event in events if event.finish_reason] == ["length"]
    assert (generation.usage.prompt_tokens, generation.usage.completion_tokens) == (len(ids("Paris is")), 8)
    assert generation.timings.run_s > 0.0


def test_token_ids_are_taken_as_they_are_and_a_chat_as_its_template_writes_it():
    async def act(one, runner):
        await events_of(one, asked([5, 6, 7]))
        await events_of(one, asked(Chat([{"role": "user", "content": "hi"}])))
        firsts = [batch for batch in runner.batches if len(batch.tokens) > 1]
        return [batch.tokens.tolist() for batch in firsts]

    assert served(act) == [[5, 6, 7], ids("<|user|>hi", add_special=False)]


def test_choices_differ_by_chance_and_share_their_prompt():
    sampling = Sampling(temperature=2.0, seed=7)

    async def act(one, runner):
        events, generation = await events_of(one, asked("x " * 40, n=3, sampling=sampling))
        again, _ = await events_of(one, asked("x " * 40, n=3, sampling=sampling))
        rows = [len(batch.tokens) for batch in runner.batches]
        return events, again, generation, rows

    events, again, generation, rows = served(act)

    def texts(events):
        return ["".join(event.text for event in events if event.index == index) for index in range(3)]

    assert texts(events) == texts(again)
    assert len(set(texts(events))) == 3
    assert generation.usage.completion_tokens == 24
    assert max(rows) < len(ids("x " * 40)) + 2 * 16 + 1


def test_a_stop_string_ends_the_choice_and_its_sequence():
    whole = TOKENIZER.decode(spell(ids("Paris is"), 40, VOCAB), continues=True)
    stop = whole[12:15]

    async def act(one, runner):
        events, _ = await events_of(one, asked(max_tokens=200, stop=(stop,)))
        await one.drain()
        return events, one

    events, one = served(act)

    assert "".join(event.text for event in events) == whole[: whole.index(stop)]
    assert events[-1].finish_reason == "stop"
    assert one.stats()["engine"]["running_sequences"] == 0


def test_an_echo_comes_first_with_the_prompts_log_probabilities():
    async def act(one, runner):
        return await events_of(one, asked(echo=True, logprobs=1, prompt_logprobs=1, n=2))

    events, generation = served(act)

    for index in (0, 1):
        first = next(event for event in events if event.index == index)
        assert first.text == "Paris is"
        assert first.logprobs[0].logprob is None
        assert [one.token for one in first.logprobs] == ids("Paris is")
    assert generation.prompt_logprobs[1].logprob < 0.0


def test_a_guide_is_followed():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }

    async def act(one, runner):
        guide = Guide("json_schema", json.dumps(schema))
        events, _ = await events_of(
            one, asked(max_tokens=60, ignore_eos=False, sampling=Sampling(temperature=0.0, guide=guide))
        )
        choice, _ = await events_of(
            one, asked(ignore_eos=False, sampling=Sampling(guide=Guide("choice", '["yes", "no"]'), seed=1))
        )
        return "".join(event.text for event in events), "".join(event.text for event in choice)

    text, choice = served(act)

    assert isinstance(json.loads(text)["a"], bool)
    assert choice in {"yes", "no"}


def test_scores_are_those_of_the_prompt_written_out():
    async def act(one, runner):
        scored = await one.score(ScoreRequest("Paris is the", (" capital", [7, 8])), deadline_at=inf)
        whole = ids("Paris is the") + ids(" capital", add_special=False)
        _, generation = await events_of(one, asked(whole, max_tokens=1, prompt_logprobs=1))
        return scored, whole, generation.prompt_logprobs

    scored, whole, told = served(act)
    tail = told[len(ids("Paris is the")) :]

    assert scored[0].tokens == tuple(whole[len(ids("Paris is the")) :])
    assert scored[0].token_logprobs == pytest.approx([one.logprob for one in tail])
    assert scored[0].logprob == pytest.approx(sum(one.logprob for one in tail))
    assert scored[1].tokens == (7, 8)


def test_leaving_frees_what_the_answer_held():
    async def act(one, runner):
        generation = await one.start(asked(max_tokens=400), deadline_at=inf)
        async for _ in generation:
            break
        await generation.aclose()
        await one.drain()
        step = asyncio.Event()
        loop = asyncio.get_running_loop()
        one._engine.between_steps(lambda: loop.call_soon_threadsafe(step.set))
        await step.wait()
        return one.stats(), one.admission

    stats, admission = served(act)

    assert stats["kv"]["blocks_held"] == 0
    assert (admission.sequences, admission.running, admission.tokens) == (0, 0, 0)


def test_what_the_prefix_cache_has_does_not_count_at_the_gate():
    long = list(range(3, 83))

    async def act(one, runner):
        await events_of(one, asked(long))
        first = one.admission.tokens
        costs = one._costs([one_sequence(one, [*long, 9])])
        return first, costs

    def one_sequence(one, prompt):
        array = np.array(prompt, dtype=np.int32)
        return Sequence(array, Row(EXACT, 1, array), None, max_tokens=4)

    first, costs = served(act)

    assert first == 0
    assert costs == [1]


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (asked(model="other"), NotFound, "'other' is not served here"),
        (asked([]), InvalidRequest, "no tokens"),
        (asked([5] * 600), PayloadTooLarge, "600 tokens and the context holds 512"),
        (asked(max_tokens=600), InvalidRequest, "max_tokens = 600"),
        (asked(max_tokens=0), InvalidRequest, "max_tokens = 0"),
        (asked([VOCAB]), InvalidRequest, f"= {VOCAB} is not a token id"),
        (asked(stop=("x",) * 65), InvalidRequest, "65"),
        (
            asked(sampling=Sampling(guide=Guide("json_schema", '{"type": "nonsense"}'))),
            InvalidRequest,
            "nonsense",
        ),
        (asked(sampling=Sampling(guide=Guide("regex", "("))), InvalidRequest, "regular expression"),
        (asked(Chat([])), InvalidRequest, "no tokens"),
    ],
)
def test_what_cannot_be_is_refused_before_it_costs_anything(request_, error, words):
    async def act(one, runner):
        with pytest.raises(error, match=words):
            await one.start(request_, deadline_at=inf)
        return runner.batches

    assert served(act) == []


def test_a_long_prompt_keeps_its_end_when_asked():
    long = [3 + place % 50 for place in range(600)]

    async def act(one, runner):
        _, generation = await events_of(one, asked(long, truncate=True, max_tokens=12))
        return generation.usage.prompt_tokens, runner.batches[0].tokens[-1]

    assert served(act) == (500, long[-1])


def test_a_passed_deadline_ends_the_answer():
    async def act(one, runner):
        generation = await one.start(asked(max_tokens=400), deadline_at=one._clock() + 0.02)
        with pytest.raises(DeadlineExceeded):
            async for _ in generation:
                pass
        await one.drain()
        return one.admission

    admission = served(act)
    assert (admission.sequences, admission.running) == (0, 0)


def test_a_failed_step_fails_its_requests_and_opens_the_breaker_at_last():
    async def act(one, runner):
        for _ in range(2):
            runner.fail_next = EngineError("broken")
            with pytest.raises(EngineError, match="broken"):
                await events_of(one, asked(n=3))
        with pytest.raises(CircuitOpen):
            await one.start(asked(), deadline_at=inf)
        return one.health()

    health = served(act, breaker=BreakerPolicy(failure_threshold=2))
    assert (health["status"], health["breaker"]) == ("failing", "open")


def test_a_full_line_refuses():
    async def act(one, runner):
        one.admission.admit(1, 10, inf)
        with pytest.raises(Overloaded):
            await one.start(asked(n=2), deadline_at=inf)
        return one.admission.sequences

    assert served(act, admission=AdmissionPolicy(max_waiting=2)) == 1


def test_no_numbers_fail_one_request_and_the_engine_lives():
    async def act(one, runner):
        runner.nan_for = 9
        bad, good = await asyncio.gather(
            events_of(one, asked([5, 9])), events_of(one, asked([5, 6])), return_exceptions=True
        )
        return bad, good

    bad, (events, _) = served(act)

    assert isinstance(bad, EngineError)
    assert "NaN" in str(bad)
    assert events[-1].finish_reason == "length"
