"""From settings to a runner: which kernels, which precision, how many blocks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import msgspec

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.config import ModelConfig
from paceline.generate.kv_budget import available_memory, kv_blocks
from paceline.generate.memory_formula import NUMBER_BYTES, weights_bytes
from paceline.generate.policy import GeneratePolicy
from paceline.generate.runner import Runner

_NVIDIA: Final = Path("/dev/nvidiactl")


def open_runner(policy: GeneratePolicy, folder: Path, *, state_dir: Path) -> Runner:
    """Load the model in `folder` as `policy` says (engine `auto`, `compiled` or `torch`), ready to run.

    Raises ConfigError, with the way out, for a folder that is no model of ours, a precision that this machine does not
    have, a missing library, or too little memory.
    """
    checkpoint = Checkpoint.open(folder)
    config = _bounded(checkpoint.config, policy.context_tokens)
    device = _device(policy)
    refusal = _compiled_refusal(policy, config, device)
    if policy.engine == "compiled" and refusal:
        raise ConfigError(
            f"generate.engine = compiled cannot run here: {refusal}; set generate.engine = torch",
            param="generate.engine",
        )
    compiled = policy.engine != "torch" and not refusal
    if not compiled:
        _require_torch(policy, refusal)
    precision = _precision(policy, compiled=compiled, device=device)
    kv_precision = policy.kv.precision
    if kv_precision == "auto":
        kv_precision = "fp32" if precision == "fp32" else "bf16"
    weights = weights_bytes(config, precision, stored_bytes=_stored_bytes(checkpoint))
    arguments: dict[str, Any] = {
        "precision": precision,
        "kv_precision": kv_precision,
        "blocks": kv_blocks(
            config,
            kv_precision,
            policy.kv.max_bytes or _spare_bytes(policy, config, device, weights),
            max_sequences=policy.schedule.max_sequences,
            required=policy.context_tokens > 0,
        ),
        "state_dir": state_dir,
        "threads": policy.threads,
        "context_tokens": config.max_positions,
        "window_tokens": policy.kv.window_tokens,
    }
    if compiled:
        from paceline.generate.compiled.runner import CompiledRunner  # noqa: PLC0415 - numba takes a second to load

        return CompiledRunner(checkpoint, **arguments)
    from paceline.generate.torch_model.runner import TorchRunner  # noqa: PLC0415 - an optional package

    graphs = policy.schedule.max_sequences
    return TorchRunner(checkpoint, device=device, graph_sequences=graphs, **arguments)


def _bounded(config: ModelConfig, context_tokens: int) -> ModelConfig:
    """The configuration with the context that is asked for."""
    if context_tokens > config.max_positions:
        raise ConfigError(
            f"generate.context_tokens = {context_tokens} is more than the model's {config.max_positions}; lower it, or "
            "set 0 for the model's own",
            param="generate.context_tokens",
        )
    return msgspec.structs.replace(config, max_positions=context_tokens or config.max_positions)


def _device(policy: GeneratePolicy) -> str:
    """`cuda` or `cpu`; torch, which takes seconds to load, is asked only where there may be a GPU."""
    if policy.device == "cpu" or policy.engine == "compiled":
        if policy.device == "cuda":
            raise ConfigError(
                "generate.engine = compiled runs on processors only, not on generate.device = cuda; set generate.engine "
                "= torch",
                param="generate.device",
            )
        return "cpu"
    if policy.device == "cuda":
        _require_torch(policy, "")
    elif not _NVIDIA.exists() or importlib.util.find_spec("torch") is None:
        return "cpu"
    import torch  # noqa: PLC0415 - an optional package

    if torch.cuda.is_available():
        return "cuda"
    if policy.device == "cuda":
        raise ConfigError(
            f"generate.device = cuda, but torch {torch.__version__} sees no GPU; install the driver and a torch for "
            "CUDA, or set generate.device = cpu",
            param="generate.device",
        )
    return "cpu"


def _compiled_refusal(policy: GeneratePolicy, config: ModelConfig, device: str) -> str:
    """Why the compiled kernels cannot run this, or nothing."""
    if device != "cpu":
        return f"it has no kernels for {device}"
    if config.hidden_size % 16 or config.head_dim % 2:
        return f"it needs a hidden_size in sixteens and an even head_dim, not {config.hidden_size} and {config.head_dim}"
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed (pip install 'paceline[generate]')"
    from paceline.generate.compiled.support import unsupported  # noqa: PLC0415 - an optional package

    return unsupported(policy.precision)


def _require_torch(policy: GeneratePolicy, refusal: str) -> None:
    if importlib.util.find_spec("torch") is None:
        why = f" ({refusal})" if refusal and policy.engine == "auto" else ""
        raise ConfigError(
            f"generate.engine = {policy.engine} needs torch here{why}, which is not installed; "
            "pip install 'paceline[torch]'",
            param="generate.engine",
        )


def _precision(policy: GeneratePolicy, *, compiled: bool, device: str) -> str:
    if policy.precision != "auto":
        return policy.precision
    if compiled:
        from paceline.generate.compiled.support import DEFAULT_PRECISION  # noqa: PLC0415 - an optional package

        return DEFAULT_PRECISION
    if device == "cuda":
        return "bf16"
    from paceline.generate.torch_model.linear import PackedBf16Linear  # noqa: PLC0415 - an optional package

    return "bf16" if PackedBf16Linear.is_available() else "fp32"


def _stored_bytes(checkpoint: Checkpoint) -> int:
    """Of a number in the embedding table."""
    return NUMBER_BYTES["fp32"] if checkpoint.get("model.embed_tokens.weight").dtype == "F32" else 2


def _spare_bytes(policy: GeneratePolicy, config: ModelConfig, device: str, weights: int) -> int:
    """What may be taken for keys and values when the settings do not say: the rule is in `KvPolicy.max_bytes`."""
    if device == "cpu":
        return (available_memory() - weights) // 2
    import torch  # noqa: PLC0415 - an optional package

    free, total = torch.cuda.mem_get_info()
    kept = int(total * (1 - policy.kv.gpu_memory_fraction))
    return free - kept - weights - _gpu_work_bytes(policy, config)


def _gpu_work_bytes(policy: GeneratePolicy, config: ModelConfig) -> int:
    """Activations of the largest step in 4 bytes, its logits, and what CUDA itself takes."""
    widest = 4 * config.hidden_size + 3 * config.intermediate_size + 4 * config.heads * config.head_dim
    step = 4 * policy.schedule.max_batch_tokens * widest
    return step + 8 * policy.schedule.max_sequences * config.vocab_size + (512 << 20)
