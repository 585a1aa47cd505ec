"""The torch runner on a GPU against the same runner on the processor. Run by `make gpu`, skipped elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import Row, all_logits, batch_of, blocks_for, greedy, log_softmax
from tiny_llamas import KINDS, VOCABULARY, save_tiny

from paceline.base.errors import ConfigError, OutOfMemory
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.memory_formula import kv_block_bytes
from paceline.generate.open_runner import open_runner
from paceline.generate.policy import GeneratePolicy, KvPolicy
from paceline.generate.torch_model.runner import TorchRunner

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")]

TOKENS = np.random.default_rng(0).integers(3, VOCABULARY, 90).tolist()


@pytest.fixture(scope="module", params=list(KINDS))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Every architecture in turn."""
    folder = tmp_path_factory.mktemp(request.param)
    save_tiny(request.param, folder, dtype=torch.bfloat16)
    return Checkpoint.open(folder)


def runner(checkpoint: Checkpoint, tmp_path: Path, device: str = "cuda", **more: Any) -> TorchRunner:
    """Twenty-four blocks."""
    settings = {"precision": "fp32", "kv_precision": "fp32", "blocks": 24, "state_dir": tmp_path} | more
    return TorchRunner(checkpoint, device=device, **settings)


@pytest.mark.parametrize(
    ("precision", "kv_precision", "tolerance"),
    [("fp32", "fp32", 1e-3), ("fp32", "int8", 0.1), ("bf16", "bf16", 0.3), ("int8", "bf16", 0.5)],
)
def test_log_probabilities_are_those_of_the_processor(
    checkpoint: Checkpoint, tmp_path: Path, precision: str, kv_precision: str, tolerance: float
) -> None:
    """fp32 to a thousandth, smaller numbers as close as they are on a processor."""
    here = runner(checkpoint, tmp_path, precision=precision, kv_precision=kv_precision)
    there = runner(checkpoint, tmp_path, "cpu")

    np.testing.assert_allclose(
        log_softmax(all_logits(here, TOKENS)), log_softmax(all_logits(there, TOKENS)), atol=tolerance
    )


def test_graphs_give_the_same_texts(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Recorded steps, plain steps and the processor agree token for token."""
    texts = [
        greedy(runner(checkpoint, tmp_path), TOKENS[:21], 40),
        greedy(runner(checkpoint, tmp_path, graph_sequences=0), TOKENS[:21], 40),
        greedy(runner(checkpoint, tmp_path, "cpu"), TOKENS[:21], 40),
    ]

    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("sequences", [1, 2, 3, 5])
def test_rows_of_padding_disturb_nobody(checkpoint: Checkpoint, tmp_path: Path, sequences: int) -> None:
    """A graph of four texts runs three; twice, since padding writes into the cache."""
    here, there = runner(checkpoint, tmp_path), runner(checkpoint, tmp_path, graph_sequences=0)
    prompts = [Row(TOKENS[n : n + 20 + n], blocks_for(21 + n, 3 * n)) for n in range(sequences)]
    step = [Row([TOKENS[50 + n]], row.blocks, len(row.tokens)) for n, row in enumerate(prompts)]
    for each in (here, there):
        each.run(batch_of(prompts))

    for _ in range(2):
        np.testing.assert_allclose(here.run(batch_of(step)), there.run(batch_of(step)), atol=1e-4)


def test_an_exhausted_gpu_is_out_of_memory(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Said with what to lower."""
    free, _ = torch.cuda.mem_get_info()
    blocks = 2 * free // kv_block_bytes(checkpoint.config, "fp32")

    with pytest.raises(OutOfMemory, match=r"lower generate.kv.max_bytes"):
        runner(checkpoint, tmp_path, blocks=blocks)


def test_int4_is_for_processors(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Refused with what to take instead."""
    with pytest.raises(ConfigError, match="int4 runs on processors only"):
        runner(checkpoint, tmp_path, precision="int4")


def test_auto_takes_the_gpu(tmp_path: Path) -> None:
    """In bf16, with keys and values in what kv.gpu_memory_fraction leaves."""
    save_tiny("llama", tmp_path / "model", dtype=torch.bfloat16)
    policy = GeneratePolicy(kv=KvPolicy(gpu_memory_fraction=0.5))
    opened = open_runner(policy, tmp_path / "model", state_dir=tmp_path)

    assert opened.describe()["device"] == torch.cuda.get_device_name()
    assert (opened.precision, opened.kv_precision) == ("bf16", "bf16")
    assert opened.blocks == 64 * (128 // 16 + 2)
