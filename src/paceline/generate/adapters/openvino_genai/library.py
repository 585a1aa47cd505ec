"""The package openvino_genai, as far as we use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.generate.policy import GeneratePolicy

GIB: Final = 1 << 30


class Library:
    """Makes its objects for one model, and puts its refusals into our words."""

    def __init__(self, model: Path, policy: GeneratePolicy) -> None:
        """Raises ConfigError when the package is not installed."""
        try:
            import openvino_genai  # noqa: PLC0415 - optional, and heavy
            from openvino import Tensor  # noqa: PLC0415 - only with the former
        except ImportError as error:
            raise ConfigError(
                "generate.engine = openvino-genai needs a package that is not installed: "
                "pip install 'paceline[openvino-genai]'",
                param="generate.engine",
            ) from error
        self._genai = openvino_genai
        self._tensor = Tensor
        self._model = model
        self._policy = policy

    def open_pipeline(self) -> Any:
        """A `ContinuousBatchingPipeline`. Raises ConfigError."""
        policy, scheduler = self._policy, self._genai.SchedulerConfig()
        scheduler.max_num_seqs = policy.schedule.max_sequences
        scheduler.max_num_batched_tokens = policy.schedule.max_batch_tokens
        scheduler.cache_size = -(-policy.kv.max_bytes // GIB)  # 0 lets it grow with the load
        scheduler.enable_prefix_caching = policy.kv.prefix_cache
        properties = {"INFERENCE_NUM_THREADS": policy.threads} if policy.threads else {}
        try:
            return self._genai.ContinuousBatchingPipeline(str(self._model), scheduler, "CPU", properties)
        except RuntimeError as error:
            raise ConfigError(
                f"openvino-genai cannot open {self._model}: {_reason(error)}", param="generate.model"
            ) from error

    def config(self, settings: dict[str, Any]) -> Any:
        """A `GenerationConfig`, checked: in a step a wrong one would be everybody's failure. Raises InvalidRequest."""
        settings = dict(settings)
        if "structured_output_config" in settings:
            guide = self._genai.StructuredOutputConfig(**settings["structured_output_config"])
            settings["structured_output_config"] = guide
        try:
            config = self._genai.GenerationConfig(**settings)
            config.validate()
        except RuntimeError as error:
            raise InvalidRequest(f"openvino-genai refuses the request: {_reason(error)}") from error
        return config

    def tensor(self, ids: list[int]) -> Any:
        """Ids as the library takes them, int64 (1, n)."""
        return self._tensor(np.array([ids], dtype=np.int64))


def _reason(error: RuntimeError) -> str:
    """The library's own words, without the place in its sources that stands before them."""
    return str(error).strip().splitlines()[-1].strip()
