"""The generator that `generate.engine` names, when it is not one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from paceline.base.errors import ConfigError
from paceline.base.generation import Generator
from paceline.flow.breaker import Breaker
from paceline.generate.adapters.upstream.generator import Upstream
from paceline.generate.policy import GeneratePolicy


class Adapter(Generator, Protocol):
    """A generator whose limits may change while it runs."""

    def apply(self, policy: GeneratePolicy) -> None:
        """Take over what may change; the rest of `policy` is ignored."""


async def open_adapter(policy: GeneratePolicy) -> Adapter:
    """Open it for the running event loop; models are opened in a thread, and take seconds to minutes.

    Raises ConfigError for a setting that is wrong, a model that cannot be opened, and a package that is missing.
    """
    kind = policy.engine
    breaker = Breaker(policy.breaker, name=f"the engine ({kind})")
    if kind == "upstream":
        return Upstream(policy.upstream, breaker, name=policy.name)
    model = _model(policy)
    if kind == "vllm":
        from paceline.generate.adapters.vllm.generator import Vllm  # noqa: PLC0415 - heavy

        return await Vllm.open(model, policy, breaker, name=policy.name)
    assert kind == "openvino-genai", kind
    from paceline.generate.adapters.openvino_genai.generator import OpenVinoGenai  # noqa: PLC0415 - heavy

    return await OpenVinoGenai.open(model, policy, breaker, name=policy.name)


def _model(policy: GeneratePolicy) -> Path:
    model = Path(policy.model).expanduser()
    if not policy.model or not model.exists():
        raise ConfigError(
            f"generate.model = {policy.model!r} is not there; name the model's folder or file for {policy.engine}",
            param="generate.model",
        )
    return model
