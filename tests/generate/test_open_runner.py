"""From settings to a runner."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from little_checkpoints import write_checkpoint

from paceline.base.errors import ConfigError
from paceline.generate.compiled.support import DEFAULT_PRECISION, unsupported
from paceline.generate.memory_formula import kv_block_bytes
from paceline.generate.open_runner import open_runner
from paceline.generate.policy import GeneratePolicy, KvPolicy
from paceline.generate.torch_model.linear import PackedBf16Linear

KV = KvPolicy(max_bytes=1 << 20)


def policy(**changes: Any) -> GeneratePolicy:
    """Our torch engine on the processor."""
    return msgspec.structs.replace(GeneratePolicy(engine="torch", device="cpu", kv=KV), **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random Llama of 128 positions."""
    write_checkpoint(tmp_path / "model")
    return tmp_path / "model"


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let Python not find it, as if it were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))


def test_settings_reach_the_runner(folder: Path, tmp_path: Path) -> None:
    """Precisions, context, window and the bytes of keys and values."""
    runner = open_runner(
        policy(precision="int8", context_tokens=64, kv=KvPolicy(40_000, precision="int8", window_tokens=32)),
        folder,
        state_dir=tmp_path,
    )

    assert (runner.precision, runner.kv_precision) == ("int8", "int8")
    assert runner.config.max_positions == 64
    assert runner.blocks == 40_000 // kv_block_bytes(runner.config, "int8")
    assert runner.describe()["window_tokens"] == 32


def test_auto_takes_bf16_where_there_is_arithmetic_for_it(folder: Path, tmp_path: Path) -> None:
    """Keys and values follow the weights."""
    runner = open_runner(policy(), folder, state_dir=tmp_path)
    expected = "bf16" if PackedBf16Linear.is_available() else "fp32"

    assert (runner.precision, runner.kv_precision) == (expected, expected)


def test_without_a_size_memory_is_bounded_by_use(folder: Path, tmp_path: Path) -> None:
    """64 texts of 8 blocks, and two each to guess into: not half of the machine."""
    runner = open_runner(policy(kv=KvPolicy(), precision="fp32"), folder, state_dir=tmp_path)

    assert runner.blocks == 64 * 10


def test_a_context_beyond_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    """Both numbers are said."""
    with pytest.raises(ConfigError, match="context_tokens = 129 is more than the model's 128"):
        open_runner(policy(context_tokens=129), folder, state_dir=tmp_path)


def test_a_context_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    """When it was asked for; otherwise it is what fits."""
    small = policy(precision="fp32", kv=KvPolicy(20_000))

    with pytest.raises(
        ConfigError, match="20000 bytes for keys and values hold 32 tokens, a text of 128 tokens"
    ):
        open_runner(msgspec.structs.replace(small, context_tokens=128), folder, state_dir=tmp_path)
    assert open_runner(small, folder, state_dir=tmp_path).blocks == 2


def test_a_missing_torch_is_refused_with_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever installed the core only is told what to add."""
    hide(monkeypatch, "torch")

    with pytest.raises(
        ConfigError, match=r"engine = torch needs torch here, .*; pip install 'paceline\[torch\]'"
    ):
        open_runner(policy(), folder, state_dir=tmp_path)


def test_missing_kernels_are_refused_with_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When they were asked for by name; `auto` goes on to torch."""
    hide(monkeypatch, "numba")

    with pytest.raises(
        ConfigError, match=r"engine = compiled cannot run here: .*pip install 'paceline\[generate\]'"
    ):
        open_runner(policy(engine="compiled"), folder, state_dir=tmp_path)
    runner = open_runner(policy(engine="auto"), folder, state_dir=tmp_path)
    assert runner.describe()["name"] == "torch"


@pytest.mark.slow  # compiles into a state folder of its own
@pytest.mark.skipif(bool(unsupported("auto")), reason="the processor lacks instructions")
def test_auto_takes_the_kernels_where_they_run(folder: Path, tmp_path: Path) -> None:
    """And torch for a precision that they do not have."""
    runner = open_runner(policy(engine="auto"), folder, state_dir=tmp_path)
    try:
        assert runner.describe()["name"] == "compiled"
        assert runner.precision == DEFAULT_PRECISION
    finally:
        runner.close()


def test_kernels_for_processors_run_on_no_gpu(folder: Path, tmp_path: Path) -> None:
    """The two settings contradict each other."""
    with pytest.raises(ConfigError, match="engine = compiled runs on processors only"):
        open_runner(policy(engine="compiled", device="cuda"), folder, state_dir=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    """Is not replaced in silence by the processor."""
    with pytest.raises(
        ConfigError, match=r"device = cuda, but torch .* sees no GPU; .* set generate.device = cpu"
    ):
        open_runner(policy(device="cuda"), folder, state_dir=tmp_path)
