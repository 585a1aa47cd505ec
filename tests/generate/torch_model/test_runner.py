"""The torch runner against transformers on the same weights, and against itself in other company."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from batches import Row, all_logits, batch_of, blocks_for, greedy, log_softmax
from tiny_llamas import KINDS, VOCABULARY, save_tiny

from paceline.base.errors import EngineError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.memory_formula import kv_block_bytes, weights_bytes
from paceline.generate.torch_model.linear import Int4Linear
from paceline.generate.torch_model.runner import TorchRunner

TOKENS = np.random.default_rng(0).integers(3, VOCABULARY, 90).tolist()
BLOCKS = 24


class Tiny:
    """A saved model, its twin in transformers, and runners of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.twin = save_tiny(kind, folder, dtype=torch.bfloat16)
        self.checkpoint = Checkpoint.open(folder)
        self._state_dir = folder / "state"

    def runner(self, precision: str = "fp32", kv_precision: str = "fp32", **more: Any) -> TorchRunner:
        """A fresh one: nothing is in its blocks."""
        return TorchRunner(
            self.checkpoint,
            precision=precision,
            kv_precision=kv_precision,
            blocks=more.pop("blocks", BLOCKS),
            state_dir=self._state_dir,
            **more,
        )

    def logprobs(self, tokens: list[int]) -> np.ndarray:
        """What transformers says (tokens, vocabulary)."""
        with torch.no_grad():
            return log_softmax(self.twin(torch.tensor([tokens])).logits[0].numpy())


@pytest.fixture(scope="module", params=list(KINDS))
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Every architecture in turn."""
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """One of them is enough for what does not depend on it."""
    return Tiny("llama", tmp_path_factory.mktemp("one"))


def test_log_probabilities_are_those_of_transformers(each: Tiny) -> None:
    """In fp32 to a thousandth, for every token of a text."""
    got = log_softmax(all_logits(each.runner(), TOKENS))

    np.testing.assert_allclose(got, each.logprobs(TOKENS), atol=1e-3)


def test_greedy_texts_are_those_of_transformers(each: Tiny) -> None:
    """Token for token, over blocks and the window."""
    prompt = TOKENS[:21]
    made = each.twin.generate(
        torch.tensor([prompt]), max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0
    )

    assert greedy(each.runner(), prompt, 40) == made[0, len(prompt) :].tolist()


def test_chunks_of_a_prompt_make_the_whole(each: Tiny) -> None:
    """However it is cut: inside a block, at its end, single tokens."""
    whole = all_logits(each.runner(), TOKENS)
    runner, blocks = each.runner(), blocks_for(len(TOKENS))
    parts, first = [], 0
    for length in (1, 15, 16, 7, 1, 1, 40, 9):
        chunk = TOKENS[first : first + length]
        parts.append(runner.run(batch_of([Row(chunk, blocks, first)], all_logits=True)).copy())
        first += length

    np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-5)


def mixed_step(runner: TorchRunner) -> tuple[list[Row], np.ndarray]:
    """Three texts decoded, two prompts in chunks, one step; its rows and their last logits."""
    texts = [TOKENS[:40], TOKENS[5:22], TOKENS[30:63], TOKENS[10:30], TOKENS[50:84]]
    tables, used = [], 0
    for text in texts:
        tables.append(blocks_for(len(text), used))
        used += len(tables[-1])
    already = [39, 16, 32, 8, 0]
    begun = [
        Row(text[:count], table) for text, table, count in zip(texts, tables, already, strict=True) if count
    ]
    runner.run(batch_of(begun))
    step = [
        Row(text[count:], table, count) for text, table, count in zip(texts, tables, already, strict=True)
    ]
    return step, runner.run(batch_of(step)).copy()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_mixed_step_is_each_text_alone(each: Tiny, precision: str) -> None:
    """Decoding and prompts side by side, to rounding."""
    step, together = mixed_step(each.runner(precision))

    for row, got in zip(step, together, strict=True):
        text = {40: TOKENS[:40], 17: TOKENS[5:22], 33: TOKENS[30:63], 20: TOKENS[10:30], 34: TOKENS[50:84]}[
            row.first + len(row.tokens)
        ]
        alone = all_logits(each.runner(precision), text)[-1]
        np.testing.assert_allclose(got, alone, atol=2e-5 if precision == "fp32" else 0.15)


@pytest.mark.parametrize("kv_precision", ["fp32", "int8"])
def test_in_int8_company_changes_nothing_at_all(each: Tiny, kv_precision: str) -> None:
    """The same steps with and without the others: every bit of the logits is the same."""
    runner = each.runner("int8", kv_precision)
    step, together = mixed_step(runner)

    for row, got in zip(step, together, strict=True):
        alone = runner.run(batch_of([row]))[0]
        np.testing.assert_array_equal(got, alone)


def test_a_block_may_be_read_in_the_step_that_fills_it(each: Tiny) -> None:
    """Two prompts begin alike: the second has blocks of the first, which are written in the same step."""
    shared, own = TOKENS[:32], TOKENS[70:80]
    first = Row(TOKENS[:40], [3, 1, 2])
    second = Row(own, [3, 1, 7], first=32)
    runner = each.runner()

    for order in ([first, second], [second, first]):
        logits = runner.run(batch_of(order))
        got = logits[order.index(second)]
        np.testing.assert_allclose(got, all_logits(each.runner(), shared + own)[-1], atol=2e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "int4"])
def test_a_step_may_want_nothing(llama: Tiny, precision: str) -> None:
    """A chunk of a prompt that does not end in it: keys and values only."""
    runner = llama.runner(precision)
    nothing = msgspec.structs.replace(batch_of([Row(TOKENS[:20], [0, 1])]), wanted=np.zeros(0, np.int32))

    assert runner.run(nothing).shape == (0, VOCABULARY)


def test_blocks_lie_anywhere(llama: Tiny) -> None:
    """Their order in the table is what counts."""
    scattered = all_logits(llama.runner(), TOKENS, [7, 3, 23, 0, 11, 5])

    np.testing.assert_array_equal(scattered, all_logits(llama.runner(), TOKENS))


def test_a_window_is_what_transformers_makes_of_it(tmp_path: Path) -> None:
    """`window_tokens` of 20 on a model without one is Mistral's sliding window of 20 on the same weights."""
    windowed = Tiny("mistral", tmp_path / "windowed")
    windowed.twin.config.sliding_window = 20
    windowed.twin.save_pretrained(tmp_path / "twin")
    windowed.twin.config.sliding_window = None
    windowed.twin.save_pretrained(tmp_path / "plain")
    plain = Checkpoint.open(tmp_path / "plain")
    with torch.no_grad():
        reloaded = type(windowed.twin).from_pretrained(tmp_path / "twin", dtype=torch.float32).eval()
        expected = log_softmax(reloaded(torch.tensor([TOKENS])).logits[0].numpy())

    runner = TorchRunner(
        plain, precision="fp32", kv_precision="fp32", blocks=BLOCKS, state_dir=tmp_path, window_tokens=20
    )

    assert plain.config.sliding_window is None
    np.testing.assert_allclose(log_softmax(all_logits(runner, TOKENS)), expected, atol=1e-3)


def test_the_narrower_window_counts(tmp_path: Path) -> None:
    """Mistral's 7 stays when more is allowed."""
    tiny = Tiny("mistral", tmp_path)

    assert tiny.runner(window_tokens=512).describe()["window_tokens"] == 7


@pytest.mark.parametrize(
    ("precision", "kv_precision", "tolerance"),
    [
        ("fp32", "bf16", 0.05),
        ("fp32", "int8", 0.1),
        ("bf16", "bf16", 0.15),
        ("int8", "bf16", 0.35),
        ("int8", "int8", 0.4),
    ],
)
def test_smaller_numbers_stay_close(each: Tiny, precision: str, kv_precision: str, tolerance: float) -> None:
    """Log-probabilities of a random model, whose logits spread over 20; a trained one is kinder."""
    got = log_softmax(all_logits(each.runner(precision, kv_precision), TOKENS))

    np.testing.assert_allclose(got, each.logprobs(TOKENS), atol=tolerance)


@pytest.mark.skipif(not Int4Linear.is_available(), reason="this torch has no int4 kernels")
def test_int4_is_its_own_weights(each: Tiny) -> None:
    """Random weights lose most; what was likely stays likely."""
    got = log_softmax(all_logits(each.runner("int4"), TOKENS))
    expected = each.logprobs(TOKENS)

    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "int4"])
@pytest.mark.parametrize("kv_precision", ["fp32", "bf16", "int8"])
def test_memory_is_the_formula(each: Tiny, precision: str, kv_precision: str) -> None:
    """To the byte; the cache has one block of its own."""
    runner = each.runner(precision, kv_precision)
    config = each.checkpoint.config

    assert runner.memory.weights_bytes == weights_bytes(config, precision, stored_bytes=2)
    assert runner.memory.kv_bytes == (BLOCKS + 1) * kv_block_bytes(config, kv_precision)


def test_nan_stays_with_the_text_that_has_it(llama: Tiny) -> None:
    """Its logits come as they are, and what it left in its block harms nobody who gets the block next."""
    runner = llama.runner()
    table = runner._decoder._weights.embedding
    poison = TOKENS[0]
    with torch.inference_mode():
        kept = table[poison].clone()
        table[poison] = torch.nan
        logits = runner.run(batch_of([Row([poison] * 20, [0, 1]), Row(TOKENS[1:30], [2, 3])])).copy()
        table[poison] = kept

    assert np.isnan(logits[0]).all()
    np.testing.assert_allclose(logits[1], all_logits(llama.runner(), TOKENS[1:30])[-1], atol=2e-5)
    reused = runner.run(batch_of([Row(TOKENS[1:30], [0, 1])]))
    np.testing.assert_allclose(reused[0], logits[1], atol=2e-5)
    again = runner.run(batch_of([Row(TOKENS[29:30], [0, 1], 28)]))
    np.testing.assert_allclose(again[0], logits[1], atol=2e-5)


def test_ranges_of_layers_make_the_whole(each: Tiny) -> None:
    """Hidden states go from one runner to the next: the seam where a model is split over machines."""
    layers = each.checkpoint.config.layers
    first, last = each.runner(layers=range(1)), each.runner(layers=range(1, layers))
    batch = batch_of([Row(TOKENS[:30], [0, 1]), Row(TOKENS[40:50], [2])])

    logits = last.forward(batch, first.forward(batch))

    np.testing.assert_array_equal(logits.numpy(), each.runner().run(batch))
    assert first.memory.weights_bytes < each.runner().memory.weights_bytes
    assert first.memory.kv_bytes * layers == each.runner().memory.kv_bytes


def test_a_failing_step_is_an_engine_error(llama: Tiny) -> None:
    """A token beyond the vocabulary cannot come from the engine; if it does, the runner lives on."""
    runner = llama.runner()
    good = batch_of([Row(TOKENS[:5], [0])])
    before = runner.run(good).copy()

    with pytest.raises(EngineError, match="torch failed on a step of 1 tokens: index out of range"):
        runner.run(batch_of([Row([VOCABULARY], [1])]))
    np.testing.assert_array_equal(runner.run(good), before)


def test_too_many_blocks_are_an_engine_error(llama: Tiny) -> None:
    """Said with what to lower, not by the operating system."""
    with pytest.raises(EngineError, match=r"lower generate.kv.max_bytes or generate.precision"):
        llama.runner(blocks=1 << 40)


def test_describe_tells_what_runs(llama: Tiny) -> None:
    """For `/health` and reports."""
    told = llama.runner("int8", "bf16").describe()

    assert (told["name"], told["precision"], told["kv_precision"]) == ("torch", "int8", "bf16")
    assert (told["layers"], told["digest"]) == ([0, 2], llama.checkpoint.digest)
    assert told["kv_bytes"] > 0


@pytest.fixture
def threads() -> Iterator[None]:
    """Put torch's number back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_those_asked_for(llama: Tiny, threads: None) -> None:
    """And 0 leaves torch's own choice."""
    assert llama.runner(threads=1).describe()["threads"] == 1


def test_a_closed_runner_is_empty(llama: Tiny) -> None:
    """Closing twice is harmless."""
    runner = llama.runner()

    runner.close()
    runner.close()

    assert not hasattr(runner, "_decoder")
