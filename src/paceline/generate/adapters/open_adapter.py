"""The generator that `generate.engine` names, when it is not one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from paceline.base.errors import ConfigError
from paceline.base.generation import Generator
from paceline.flow.breaker import Breaker
from paceline.generate.adapters.upstream.generator import Upstream
from paceline.generate.policy import GeneratePolicy

AdapterKind = Literal["openvino-genai", "vllm", "upstream"]


def open_adapter(kind: AdapterKind, policy: GeneratePolicy, *, breaker: Breaker | None = None) -> Generator:
    """Open it, on the event loop that it will serve; models take seconds to minutes.

    Raises ConfigError for a setting that is wrong, a model that cannot be opened, and a package that is missing.
    """
    breaker = breaker or Breaker(policy.breaker, name=f"the engine ({kind})")
    if kind == "upstream":
        return Upstream(policy.upstream, breaker, name=policy.name)
    model = Path(policy.model)
    if not policy.model or not model.exists():
        raise ConfigError(
            f"generate.model = {policy.model!r} is not there; name the model's folder or file for {kind}",
            param="generate.model",
        )
    if kind == "vllm":
        from paceline.generate.adapters.vllm.generator import Vllm  # noqa: PLC0415 - an optional package

        return Vllm(model, policy, breaker, name=policy.name)
    from paceline.generate.adapters.openvino_genai.generator import (  # noqa: PLC0415 - an optional package
        OpenVinoGenai,
    )

    return OpenVinoGenai(model, policy, breaker, name=policy.name)
