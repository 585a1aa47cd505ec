"""The compiled runner against transformers, against itself, and at its edges."""

import threading
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch
from batches import Row, all_logits, batch_of, blocks_for, greedy, log_softmax
from compiled.opened import PAIRS, opened
from little_checkpoints import write_checkpoint
from safetensors.numpy import load_file, save_file
from tiny_llamas import KINDS, VOCABULARY, save_tiny

from paceline.base.errors import ConfigError, EngineError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.runner import CompiledRunner
from paceline.generate.compiled.support import unsupported
from paceline.generate.memory_formula import kv_block_bytes


def text_of(count, seed=0):
    return np.random.default_rng(seed).integers(3, VOCABULARY, count).tolist()


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """A model with all there is: biases, grouped heads, tied output."""
    folder = tmp_path_factory.mktemp("qwen2")
    save_tiny("qwen2", folder, max_position_embeddings=256)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_transformers(kind, tmp_path, state_dir):
    """In fp32 to 1e-4 at every place of a text longer than a chunk of attention, and greedy text token for token."""
    model = save_tiny(kind, tmp_path)
    text = text_of(100)
    with torch.no_grad():
        expected = log_softmax(model(torch.tensor([text])).logits[0].numpy())
        made = model.generate(torch.tensor([text[:9]]), max_new_tokens=40, do_sample=False)[0, 9:].tolist()
    with opened(tmp_path, state_dir, PAIRS[0]) as runner:
        actual = log_softmax(all_logits(runner, text))
        likeliest = greedy(runner, text[:9], len(made))

    assert np.abs(actual - expected).max() < 1e-4
    assert likeliest == made


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_checkpoints_in_half_precision_are_read_as_they_are(dtype, tmp_path, state_dir):
    """The embedding table is not copied, whatever its type."""
    model = save_tiny("llama", tmp_path, dtype=dtype)
    text = text_of(20)
    with torch.no_grad():
        expected = log_softmax(model(torch.tensor([text])).logits[0].numpy())
    with opened(tmp_path, state_dir, PAIRS[0]) as runner:
        actual = log_softmax(all_logits(runner, text))

    assert np.abs(actual - expected).max() < 1e-4


@pytest.mark.parametrize(("pair", "limit"), [(PAIRS[1], 0.02), (PAIRS[2], 0.02)], ids=str)
def test_lower_precisions_stay_near(pair, limit, qwen, state_dir):
    """The distributions' divergence from fp32 is small."""
    text = text_of(100)
    with opened(qwen, state_dir, PAIRS[0]) as exact, opened(qwen, state_dir, pair) as runner:
        expected, actual = log_softmax(all_logits(exact, text)), log_softmax(all_logits(runner, text))
    divergence = (np.exp(expected) * (expected - actual)).sum(axis=1)

    assert 0 < divergence.mean() < limit


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_logits_are_the_same_bits_however_the_text_is_cut(pair, qwen, state_dir):
    """In one chunk, in several of any size, or a token at a time."""
    text = text_of(150)
    blocks = blocks_for(len(text), 3)
    with opened(qwen, state_dir, pair) as runner:
        whole = all_logits(runner, text, blocks)
        for cuts in ([64], [1, 17, 80, 81, 149], list(range(1, 150))):
            edges = [0, *cuts, len(text)]
            parts = [
                runner.run(batch_of([Row(text[a:b], blocks, a)], all_logits=True)).copy()
                for a, b in pairwise(edges)
            ]

            assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_logits_are_the_same_bits_whatever_else_is_in_the_batch(pair, qwen, state_dir):
    """Alone or between prompts and single tokens of others, with one thread or three."""
    texts = [text_of(count, count) for count in (70, 1, 33, 90)]
    places = [blocks_for(len(text), 8 * number) for number, text in enumerate(texts)]
    rows = [Row(text, blocks) for text, blocks in zip(texts, places, strict=True)]
    with opened(qwen, state_dir, pair) as runner:
        alone = [all_logits(runner, text) for text in texts]
    for threads in (1, 3):
        with opened(qwen, state_dir, pair, threads=threads) as runner:
            together = runner.run(batch_of(rows, all_logits=True))

        assert np.array_equal(together, np.concatenate(alone))


def test_sequences_share_blocks_that_one_of_them_fills_in_this_step(qwen, state_dir):
    """Keys and values of all rows are written before any row attends."""
    prompt = text_of(32)
    first, second = [*prompt, 5], [*prompt, 9, 7]
    with opened(qwen, state_dir, PAIRS[0]) as runner:
        expected = [all_logits(runner, text)[-1].copy() for text in (first, second)]
        rows = [Row(second[32:], [0, 1, 3], 32), Row(first, [0, 1, 2])]
        second_too, first_too = runner.run(batch_of(rows))

        assert np.array_equal(first_too, expected[0])
        assert np.array_equal(second_too, expected[1])


def test_a_window_hides_what_is_before_it(tmp_path, state_dir):
    """A window of 7 by setting is the model that has it by configuration, whole blocks away too."""
    save_tiny("mistral", tmp_path)
    text = text_of(120)
    config = (tmp_path / "config.json").read_text()
    with opened(tmp_path, state_dir, PAIRS[0]) as runner:
        expected = all_logits(runner, text)
    (tmp_path / "config.json").write_text(config.replace('"sliding_window": 7', '"sliding_window": null'))
    with opened(tmp_path, state_dir, PAIRS[0], window_tokens=7) as runner:
        windowed = all_logits(runner, text)
        last = runner.run(batch_of([Row(text[-1:], blocks_for(len(text)), len(text) - 1)]))
    with opened(tmp_path, state_dir, PAIRS[0]) as runner:
        unlimited = all_logits(runner, text)

    assert np.array_equal(windowed, expected)
    assert np.array_equal(last[0], expected[-1])
    assert not np.allclose(unlimited[-1], expected[-1], atol=1e-3)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_a_row_that_is_not_finite_harms_nobody_else(pair, tmp_path, state_dir):
    """A text with a NaN gets NaN; its neighbour, and who has its blocks next, get what they always get."""
    write_checkpoint(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"][40] = np.nan
    save_file(tensors, file)
    healthy, ill = [3, 4, 5, 6], [8, 40, 9]
    with opened(tmp_path, state_dir, pair) as runner:
        expected = all_logits(runner, healthy, [2])
        both = runner.run(batch_of([Row(ill, [1]), Row(healthy, [0])], all_logits=True)).copy()
        after = all_logits(runner, healthy, [1])

        assert np.isnan(both[1:3]).all()
        assert np.array_equal(both[3:], expected)
        assert np.array_equal(after, expected)


def test_a_step_may_want_no_logits(qwen, state_dir):
    """Chunks of a prompt but the last."""
    text = text_of(40)
    blocks = blocks_for(40)
    with opened(qwen, state_dir, PAIRS[1]) as runner:
        expected = all_logits(runner, text)[-1].copy()
        silent = msgspec.structs.replace(batch_of([Row(text[:30], blocks)]), wanted=np.zeros(0, np.int32))
        nothing = runner.run(silent)
        last = runner.run(batch_of([Row(text[30:], blocks, 30)]))

        assert nothing.shape == (0, VOCABULARY)
        assert np.array_equal(last[0], expected)


def test_steps_may_come_from_any_thread(qwen, state_dir):
    """Callers take turns; each gets its own text's logits."""
    texts = [text_of(20, seed) for seed in range(4)]
    wrong = []
    with opened(qwen, state_dir, PAIRS[1]) as runner:
        expected = [greedy(runner, text, 1) for text in texts]

        def check(number):
            for _ in range(50):
                row = Row(texts[number], blocks_for(20, 2 * number))
                logits = runner.run(batch_of([row]))
                # Valid until the next run, which may have begun: only the shape is ours to look at.
                if logits.shape != (1, VOCABULARY):
                    wrong.append(number)

        callers = [threading.Thread(target=check, args=(number,)) for number in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

        assert wrong == []
        assert [greedy(runner, text, 1) for text in texts] == expected


def test_a_closed_runner_says_so(qwen, state_dir):
    """Closing twice is fine, its threads are gone, running is an error."""
    before = threading.active_count()
    with opened(qwen, state_dir, PAIRS[1], threads=3) as runner:
        assert threading.active_count() == before + 2

    assert threading.active_count() == before
    runner.close()
    with pytest.raises(EngineError, match="closed"):
        greedy(runner, [3, 4], 1)


def test_memory_is_told_to_the_byte(qwen, state_dir):
    """Keys and values by the formula; weights as they are packed, and the embedding table as it is stored."""
    with opened(qwen, state_dir, PAIRS[1]) as runner:
        config, memory = runner.config, runner.memory
    hidden, inner, fused = 64, 96, 128
    panels = [(fused, hidden), (hidden, hidden), (2 * inner, hidden), (hidden, inner)]
    layer = sum(columns * values + 4 * columns for columns, values in panels) + 4 * (fused + 2 * hidden)
    outside = 320 * hidden + 4 * 320 + 4 * hidden + 4 * VOCABULARY * hidden

    assert memory.kv_bytes == 32 * kv_block_bytes(config, "bf16")
    assert memory.weights_bytes == 2 * layer + outside


def test_what_it_is_can_be_read(qwen, state_dir):
    """Name, precisions, threads."""
    with opened(qwen, state_dir, PAIRS[2]) as runner:
        told = runner.describe()

    assert (told["name"], told["precision"], told["kv_precision"], told["threads"]) == (
        "compiled",
        "bf16",
        "int8",
        2,
    )


def test_sizes_that_do_not_fit_registers_are_refused(tmp_path, state_dir):
    """With the way out."""
    write_checkpoint(tmp_path, hidden_size=72, num_attention_heads=4, head_dim=16)
    with pytest.raises(ConfigError, match=r"72.*torch"):
        CompiledRunner(
            Checkpoint.open(tmp_path),
            precision="int8",
            kv_precision="bf16",
            blocks=4,
            state_dir=state_dir,
        )


def test_unknown_precisions_are_refused():
    """Never computed as something else."""
    assert "fp8" in unsupported("fp8")
    assert unsupported("int8") == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row([3, VOCABULARY], [0]), f"to {VOCABULARY}, the model has {VOCABULARY}"),
        (Row([3, -1], [0]), "tokens are -1"),
        (Row([3], [0] * 17, 256), "positions go to 256"),
        (Row([3], [0], 16), "positions go to 16 in 1 blocks"),
        (Row([3], [32]), "blocks are 32 to 32, there are 32"),
    ],
)
def test_what_is_outside_of_the_model_is_refused(row, message, qwen, state_dir):
    """Compiled code checks no address: a batch is checked before it begins, and the runner stays usable."""
    with opened(qwen, state_dir, PAIRS[1]) as runner:
        expected = greedy(runner, [3, 4], 2)
        with pytest.raises(EngineError, match=message):
            runner.run(batch_of([row]))

        assert greedy(runner, [3, 4], 2) == expected
