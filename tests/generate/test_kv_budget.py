"""Blocks from bytes."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from paceline.base.errors import ConfigError
from paceline.generate.config import ModelConfig
from paceline.generate.kv_budget import available_memory, kv_blocks
from paceline.generate.memory_formula import kv_block_bytes

CONFIG = ModelConfig(
    "LlamaForCausalLM",
    vocab_size=75,
    hidden_size=64,
    intermediate_size=96,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    max_positions=128,
)


@pytest.mark.parametrize(("precision", "number"), [("fp32", 16 * 4), ("bf16", 16 * 2), ("int8", 16 + 4)])
def test_bytes_of_a_block(precision: str, number: int) -> None:
    """Layers x (keys and values) x tokens x heads x bytes of a head; int8 has a float scale for each."""
    assert kv_block_bytes(CONFIG, precision) == 2 * 2 * 16 * 2 * number


def test_as_many_blocks_as_fit() -> None:
    """The remainder stays unused."""
    block = kv_block_bytes(CONFIG, "bf16")

    assert kv_blocks(CONFIG, "bf16", 10 * block + 5, max_sequences=64, required=True) == 10


def test_no_more_than_all_texts_can_use() -> None:
    """Eight blocks are a full context, two more may be guessed into."""
    assert kv_blocks(CONFIG, "bf16", 1 << 40, max_sequences=3, required=True) == 3 * (8 + 2)


def test_less_than_a_context_is_enough_when_none_was_asked_for() -> None:
    """The context is then what fits."""
    block = kv_block_bytes(CONFIG, "bf16")

    assert kv_blocks(CONFIG, "bf16", 3 * block, max_sequences=1, required=False) == 3


@pytest.mark.parametrize(("budget", "required"), [(3 * 4096, True), (0, False), (-5, False)])
def test_too_little_memory_is_refused(budget: int, required: bool) -> None:
    """Both sizes are said, and what to turn."""
    with pytest.raises(
        ConfigError, match=r"for keys and values hold .* tokens, a text of .* raise generate.kv.max_b"
    ):
        kv_blocks(CONFIG, "bf16", budget, max_sequences=1, required=required)


def cgroup(folder: Path, limit: str) -> Path:
    """A container's files: 3,000 bytes used, 1,000 of them pages of files."""
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text("3000\n")
    (folder / "memory.stat").write_text("anon 2000\ninactive_file 1000\n")
    return folder


def test_a_container_has_less_than_its_machine(tmp_path: Path) -> None:
    """Its limit less what it uses, but for pages that can be given up."""
    assert available_memory(cgroup(tmp_path, "10000")) == 8000


def test_a_full_container_has_nothing(tmp_path: Path) -> None:
    """Never less than that."""
    assert available_memory(cgroup(tmp_path, "1000")) == 0


@pytest.mark.parametrize("limit", ["max", None])
def test_without_a_limit_the_machine_counts(tmp_path: Path, limit: str | None) -> None:
    """So it does without a container."""
    folder = cgroup(tmp_path, limit) if limit else tmp_path / "nowhere"

    assert available_memory(folder) == pytest.approx(psutil.virtual_memory().available, rel=0.2)
