"""Generation by openvino-genai: the library itself, with a model that is written for the test."""

import asyncio
import time

import pytest

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
)
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling, ScoreRequest
from paceline.flow.breaker import Breaker, BreakerPolicy

pytest.importorskip("openvino_genai", reason="pip install 'paceline[openvino-genai]'")
pytest.importorskip("gguf", reason="the package that writes the model is not installed: pip install gguf")

from tiny_gguf import END, VOCAB_SIZE, write_tiny_gguf

from paceline.generate.adapters.openvino_genai.choice_text import ChoiceText
from paceline.generate.adapters.openvino_genai.generator import OpenVinoGenai
from paceline.generate.admission import AdmissionPolicy
from paceline.generate.policy import GeneratePolicy, KvPolicy
from paceline.generate.scheduler import SchedulePolicy

pytestmark = pytest.mark.anyio

CONTEXT = 256
GREEDY = Sampling(temperature=0)
LONG = GenerateRequest("hello", sampling=GREEDY, ignore_eos=True)
"""Goes on to the end of the context."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", context=CONTEXT)


@pytest.fixture
async def engine(model):
    generator = await OpenVinoGenai.open(model, policy_of(), Breaker(BreakerPolicy()))
    yield generator
    await generator.close()


@pytest.fixture
async def scorer(model):
    """Scores, and takes several steps for a prompt."""
    policy = policy_of(kv=KvPolicy(prefix_cache=False), schedule=SchedulePolicy(max_batch_tokens=16))
    generator = await OpenVinoGenai.open(model, policy, Breaker(BreakerPolicy()))
    yield generator
    await generator.close()


def policy_of(**groups):
    return GeneratePolicy(threads=1, **groups)


def soon(seconds=30.0):
    return time.monotonic() + seconds


async def told(engine, request):
    """Every event of one request, and its answer."""
    answer = await engine.start(request, deadline_at=soon())
    return [event async for events in answer for event in events], answer


def tokens(events, index=0):
    return [token for event in events if event.index == index for token in event.tokens]


def text(events, index=0):
    return "".join(event.text for event in events if event.index == index)


def choosing(*texts, **fields):
    """A request whose answer is known: one of these texts."""
    literals = ", ".join(f'"{one}"' for one in texts)
    return GenerateRequest("say", sampling=Sampling(guide=Guide("choice", f"[{literals}]"), seed=1), **fields)


async def test_an_answer_streams(engine):
    """Token by token, up to max_tokens, with usage and timings."""
    events, answer = await told(
        engine, GenerateRequest("hello there", max_tokens=6, sampling=GREEDY, ignore_eos=True)
    )

    assert len(tokens(events)) == 6
    assert [event.finish_reason for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (8, 6)
    assert 0 < answer.timings.queue_s < answer.timings.total_s
    assert answer.timings.cache == "bypass"


async def test_the_end_of_text_ends_an_answer(engine):
    """Its token is told and has no text."""
    events, _ = await told(engine, choosing("in an inn"))

    assert text(events) == "in an inn"
    assert events[-1].finish_reason == "stop"
    assert tokens(events)[-1] == END


@pytest.mark.parametrize(("stop", "before"), [("h", "t"), ("here", "t"), (" i", "there"), ("x", "there in")])
async def test_a_stop_string_may_begin_inside_a_token(engine, stop, before):
    """The vocabulary has `th`; the answer ends where the first letter of the stop string is."""
    events, _ = await told(engine, choosing("there in", stop=(stop,)))

    assert text(events) == before
    assert events[-1].finish_reason == "stop"


async def test_a_stop_token_has_no_text(engine):
    """As the model's own end has none."""
    events, _ = await told(engine, choosing("abc", stop_token_ids=(ord("b"),)))

    assert text(events) == "a"
    assert tokens(events) == [ord("a"), ord("b")]


async def test_the_same_seed_gives_the_same_text_in_any_company(engine):
    """Also as one choice of several, whose seeds count up."""
    dice = GenerateRequest("hello", max_tokens=12, sampling=Sampling(seed=5), ignore_eos=True)
    alone, _ = await told(engine, dice)
    (again, _), (others, _) = await asyncio.gather(
        told(engine, dice),
        told(
            engine, GenerateRequest("hello", max_tokens=12, sampling=Sampling(seed=4), ignore_eos=True, n=2)
        ),
    )

    assert tokens(again) == tokens(others, 1) == tokens(alone)
    assert tokens(others, 0) != tokens(alone)


async def test_logprobs_are_the_model_s_own(engine):
    """Before temperature: those of one draw do not change when it gets cold."""
    request = GenerateRequest("hello", max_tokens=4, sampling=GREEDY, logprobs=0, ignore_eos=True)
    greedy, _ = await told(engine, request)
    cold, _ = await told(
        engine,
        GenerateRequest(
            "hello", max_tokens=4, sampling=Sampling(temperature=0.01), logprobs=0, ignore_eos=True
        ),
    )

    logprobs = [one for event in greedy for one in event.logprobs]
    assert [one.token for one in logprobs] == tokens(greedy)
    assert all(-20 < one.logprob < 0 for one in logprobs)
    assert logprobs == [one for event in cold for one in event.logprobs]


async def test_echo_comes_first(engine):
    """For every choice."""
    events, _ = await told(engine, GenerateRequest("hello", max_tokens=1, n=2, echo=True, ignore_eos=True))

    assert [(event.index, event.text) for event in events[:2]] == [(0, "hello"), (1, "hello")]


async def test_a_chat_is_rendered_by_the_model_s_template(engine):
    """Parts of a message are joined, and arguments reach the template."""
    parts = [{"type": "text", "text": "hi"}, {"type": "text", "text": "you"}]
    chat = Chat([{"role": "user", "content": parts}], template_arguments={"voice": "owl"})

    events, _ = await told(engine, GenerateRequest(chat, max_tokens=1, echo=True))

    assert events[0].text == "user: hi\nyou\nowl: "


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "owl", "content": "hi"}, "refuses the conversation: no owls"),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            r"messages\[0\].content has a part that is not text",
        ),
    ],
)
async def test_a_conversation_may_be_refused(engine, message, words):
    """In the template's own words."""
    with pytest.raises(InvalidRequest, match=words):
        await engine.start(GenerateRequest(Chat([message])), deadline_at=soon())


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (GenerateRequest(""), InvalidRequest, "the prompt has no tokens"),
        (GenerateRequest([1, VOCAB_SIZE]), InvalidRequest, rf"prompt\[1\] = {VOCAB_SIZE} is no token"),
        (GenerateRequest([1] * CONTEXT), PayloadTooLarge, "256 tokens and the context holds 256"),
        (GenerateRequest([1] * 10, max_tokens=247), InvalidRequest, "ask for 246 or fewer"),
        (GenerateRequest("x\ud800"), InvalidRequest, "lone surrogate"),
        (GenerateRequest("x", model="other"), NotFound, "this server has 'tiny'"),
        (GenerateRequest("x", sampling=Sampling(top_p=0.0)), InvalidRequest, "top_p"),
    ],
)
async def test_wrong_input_never_reaches_the_pipeline(engine, request_, kind, words):
    """There it would be everybody's failure."""
    with pytest.raises(kind, match=words):
        await engine.start(request_, deadline_at=soon())

    assert engine.stats()["openvino_genai"]["requests_total"] == 0


async def test_a_prompt_is_cut_when_that_was_asked_for(engine):
    """Its end stays, with room for the answer."""
    prompt = [ord("a")] * CONTEXT + [ord("b")] * 10

    events, answer = await told(engine, GenerateRequest(prompt, max_tokens=56, truncate=True, echo=True))

    assert answer.usage.prompt_tokens == 200
    assert events[0].text.endswith("a" + "b" * 10)


async def test_leaving_frees_the_sequence_at_once(engine):
    """The library runs nothing more for it."""
    answer = await engine.start(LONG, deadline_at=soon())
    events = await anext(aiter(answer))
    assert events

    await answer.aclose()
    await engine.drain()
    after, _ = await told(engine, choosing("a"))

    assert text(after) == "a"
    assert engine.stats()["openvino_genai"]["sequences"] == 0
    assert engine._steps._running == {}
    assert [events async for events in answer] == []


async def test_cancelling_frees_the_sequence(engine):
    """As a caller's disconnect does."""
    began = asyncio.Event()

    async def read():
        async for _ in await engine.start(LONG, deadline_at=soon()):
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert engine.stats()["openvino_genai"]["sequences"] == 0


async def test_a_passed_deadline_ends_an_answer(model):
    """Before it begins, and while it waits."""
    now = 0.0
    engine = await OpenVinoGenai.open(model, policy_of(), Breaker(BreakerPolicy()), clock=lambda: now)
    with pytest.raises(DeadlineExceeded, match="could begin"):
        await engine.start(LONG, deadline_at=0.0)
    answer = await engine.start(LONG, deadline_at=30.0)
    now = 31.0

    with pytest.raises(DeadlineExceeded, match="before the answer was ready"):
        async for _ in answer:
            pass

    assert engine.stats()["openvino_genai"]["sequences"] == 0
    await engine.close()


async def test_too_much_is_refused(model):
    """A first request may be as large as it likes."""
    policy = policy_of(schedule=SchedulePolicy(max_sequences=1), admission=AdmissionPolicy(max_waiting=1))
    engine = await OpenVinoGenai.open(model, policy, Breaker(BreakerPolicy()), name="m")
    first = await engine.start(GenerateRequest("a", n=3), deadline_at=soon())

    with pytest.raises(Overloaded, match="3 sequences run or wait, and 1 more"):
        await engine.start(GenerateRequest("a"), deadline_at=soon())

    assert engine.stats()["openvino_genai"]["refused_total"] == 1
    await first.aclose()
    await engine.close()


async def test_a_failed_step_fails_what_is_under_way_and_no_more(engine):
    """The pipeline is opened anew: after a guide that it cannot compile the library takes no other step."""
    bystander = await engine.start(LONG, deadline_at=soon())
    broken = {"structured_output_config": {"regex": "((("}, "max_new_tokens": 4}
    answer = engine._answer(1, soon())
    engine._submit({engine._sequence([1], broken, ChoiceText(0, str, ()), logprobs=False): answer}, soon())

    for failing in (answer, bystander):
        with pytest.raises(
            EngineError, match=r"a step of openvino-genai failed: .*parenthesis is not closed"
        ):
            async for _ in failing:
                pass
    events, _ = await told(engine, choosing("fine"))

    assert text(events) == "fine"
    assert engine.breaker.failures_total == 1
    assert engine.stats()["openvino_genai"]["failed_steps_total"] == 1


async def test_scores_are_those_of_the_tokens_themselves(scorer):
    """The log-probabilities of a greedy answer, its own continuation being the likeliest."""
    context = [1, 2, 3] * 20
    events, _ = await told(
        scorer, GenerateRequest(context, max_tokens=3, sampling=GREEDY, logprobs=0, ignore_eos=True)
    )
    likeliest = tokens(events)
    logprobs = [one.logprob for event in events for one in event.logprobs]

    whole, first, other = await scorer.score(
        ScoreRequest(context, (likeliest, likeliest[:1], [likeliest[0], 0])), deadline_at=soon()
    )

    assert whole.greedy
    assert whole.tokens == tuple(likeliest)
    assert whole.token_logprobs == pytest.approx(logprobs, abs=0.1)  # keys and values are kept in 8 bits
    assert whole.logprob == pytest.approx(sum(whole.token_logprobs))
    assert first.greedy
    assert first.token_logprobs == pytest.approx(whole.token_logprobs[:1])
    assert not other.greedy
    assert len(other.token_logprobs) == 2
    assert scorer.stats()["openvino_genai"]["sequences"] == 0


async def test_texts_are_scored_as_they_are_written(scorer):
    """A continuation is tokenised by itself."""
    (told_,) = await scorer.score(ScoreRequest("hello ", ("there",)), deadline_at=soon())

    assert [bytes([token]) for token in told_.tokens if token < 256] == [b"t", b"r", b"e"]
    assert len(told_.token_logprobs) == len(told_.tokens) == 4


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ScoreRequest("", ("a",)), "context"),
        (ScoreRequest("a", ()), "continuations"),
        (ScoreRequest("a", ("b", "")), "continuations[1]"),
    ],
)
async def test_there_must_be_something_to_score(scorer, request_, param):
    """The first token of a text has no probability."""
    with pytest.raises(InvalidRequest) as refusal:
        await scorer.score(request_, deadline_at=soon())

    assert refusal.value.param == param


async def test_scores_need_prompts_that_are_computed(engine):
    """The refusal names the setting."""
    with pytest.raises(InvalidRequest, match=r"kv\.prefix_cache = false"):
        await engine.score(ScoreRequest("a", ("b",)), deadline_at=soon())


async def test_closing_fails_what_is_under_way(model):
    """Its callers are told."""
    engine = await OpenVinoGenai.open(model, policy_of(), Breaker(BreakerPolicy()))
    answer = await engine.start(LONG, deadline_at=soon())

    await engine.close()

    with pytest.raises(EngineError, match="closing"):
        async for _ in answer:
            pass
    await engine.drain()


async def test_what_it_tells_of_itself(engine):
    """Name, context and health."""
    card = engine.card()

    assert (card.id, card.task, card.max_tokens, card.engine) == (
        "tiny",
        "generate",
        CONTEXT,
        "openvino-genai",
    )
    assert engine.health() == {"status": "ok", "breaker": "closed", "engine": "openvino-genai"}


async def test_a_model_that_the_library_cannot_open_is_refused(tmp_path):
    """In its own words, without the place in its sources."""
    (tmp_path / "openvino_model.xml").write_text("<net/>")
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 8}')

    with pytest.raises(ConfigError, match=r"openvino-genai cannot open .*: "):
        await OpenVinoGenai.open(tmp_path, policy_of(), Breaker(BreakerPolicy()))
