"""The library's pipeline in a thread of its own: take in what came -> step -> read -> text -> deliver.

Everything behind `submit` and `leave` belongs to that thread. What came out is delivered there too, once a step.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from paceline.base.errors import EngineError
from paceline.base.generation import FinishReason, GenerateEvent, TokenLogprob
from paceline.generate.adapters.openvino_genai.choice_text import ChoiceText

log = logging.getLogger("paceline.generate")

OUT_OF_MEMORY: Final = "IGNORED"
"""The library's word for a sequence that it gave up since its keys and values have no room."""


class Sequence:
    """One choice of a request on its way through the library. Compared by identity."""

    def __init__(
        self, prompt: Any, settings: Any, text: ChoiceText, *, ends: frozenset[int], logprobs: bool
    ) -> None:
        """`prompt` is a tensor of ids (1, n), `settings` a `GenerationConfig`; `ends` have no part in the text."""
        self.prompt = prompt
        self.settings = settings
        self.text = text
        self.ends = ends
        self.logprobs = logprobs
        self.handle: Any = None


class Delta(msgspec.Struct, gc=False):
    """What one step brought for a sequence."""

    events: list[GenerateEvent]
    tokens: int = 0
    ended: bool = False
    error: EngineError | None = None


Deliver = Callable[[list[tuple[Sequence, Delta]]], None]


class StepThread:
    """Runs sequences through a pipeline. `submit`, `leave` and `close` may be called from any thread."""

    def __init__(self, open_pipeline: Callable[[], Any], pipeline: Any, deliver: Deliver) -> None:
        """`open_pipeline` makes another `pipeline` after a step has failed; `deliver` must not block."""
        self._open = open_pipeline
        self._pipeline: Any = pipeline
        self._tokenizer: Any = pipeline.get_tokenizer()
        self._deliver = deliver
        self._inbox: deque[tuple[str, Sequence]] = deque()
        self._awake = threading.Event()
        self._closing = False
        self._running: dict[Sequence, None] = {}
        self._number = 0
        self.steps_total = self.failed_steps_total = 0
        self._thread = threading.Thread(target=self._run, name="openvino-genai", daemon=True)
        self._thread.start()

    # -- from any thread --------------------------------------------------------------------------------------

    def submit(self, sequences: list[Sequence]) -> None:
        """Queue sequences; those submitted together start in one step when there is room."""
        self._inbox.extend(("add", sequence) for sequence in sequences)
        self._awake.set()

    def leave(self, sequences: list[Sequence]) -> None:
        """Stop sequences; harmless for those that have ended. Nothing more is delivered for them, but what is on its way."""
        self._inbox.extend(("leave", sequence) for sequence in sequences)
        self._awake.set()

    def close(self) -> None:
        """Stop after the step under way and wait for it; what runs is not told."""
        self._closing = True
        self._awake.set()
        self._thread.join()

    def usage(self) -> float:
        """Share of the allocated keys and values in use, 0 to 1."""
        pipeline = self._pipeline
        return 0.0 if pipeline is None else float(pipeline.get_metrics().cache_usage) / 100.0

    # -- in the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            if not self._running:
                self._awake.wait()
            self._awake.clear()
            try:
                self._take_in()
                self._step()
            except Exception as error:  # noqa: BLE001 - whatever the library meets, its callers must be told
                self._fail(error)
        self._end_all()

    def _end_all(self) -> None:
        """Give back what runs: the library complains of blocks that nobody gave back."""
        if self._running and self._pipeline is not None:
            for sequence in self._running:
                sequence.handle.cancel()
            self._pipeline.step()

    def _take_in(self) -> None:
        while self._inbox:
            what, sequence = self._inbox.popleft()
            if what == "add":
                self._running[sequence] = None
                if self._pipeline is None:
                    self._pipeline = self._open()
                self._number += 1
                sequence.handle = self._pipeline.add_request(self._number, sequence.prompt, sequence.settings)
            elif sequence in self._running:
                del self._running[sequence]
                sequence.handle.cancel()

    def _step(self) -> None:
        pipeline = self._pipeline
        if pipeline is None or not pipeline.has_non_finished_requests():
            return
        pipeline.step()
        self.steps_total += 1
        out = [(sequence, delta) for sequence in self._running if (delta := self._read(sequence)) is not None]
        for sequence, delta in out:
            if delta.ended:
                del self._running[sequence]
        if out:
            self._deliver(out)

    def _read(self, sequence: Sequence) -> Delta | None:
        """What a step brought for one sequence, None for nothing."""
        delta = Delta([])
        while sequence.handle.can_read() and not delta.ended:
            (output,) = sequence.handle.read().values()
            self._take(sequence, output, delta)
        if not delta.ended:
            status = sequence.handle.get_status().name
            if status == OUT_OF_MEMORY:
                delta.ended = True
                delta.error = EngineError(
                    "openvino-genai gave the sequence up: its keys and values have no room "
                    "(generate.kv.max_bytes); try again, or send a shorter prompt"
                )
            elif status != "RUNNING":
                self._end(sequence, "stop", delta)  # its only token was the end
        return delta if delta.events or delta.tokens or delta.ended else None

    def _take(self, sequence: Sequence, output: Any, delta: Delta) -> None:
        reason = output.finish_reason.name
        tokens = output.generated_ids
        if not sequence.settings.echo:
            delta.tokens += len(tokens)
        for place, token in enumerate(tokens):
            logprob = None
            if sequence.logprobs:
                text = self._tokenizer.decode([token], skip_special_tokens=False)
                logprob = TokenLogprob(token, text, output.generated_log_probs[place])
            if reason == "STOP" and place == len(tokens) - 1 and token in sequence.ends:
                sequence.text.pass_over(token, logprob)
                continue
            event, stopped = sequence.text.push(token, logprob)
            if event is not None:
                delta.events.append(event)
            if stopped:
                sequence.handle.cancel()
                delta.ended = True
                return
        if reason != "NONE":
            self._end(sequence, "length" if reason == "LENGTH" else "stop", delta)

    @staticmethod
    def _end(sequence: Sequence, reason: FinishReason, delta: Delta) -> None:
        delta.events.append(sequence.text.finish(reason))
        delta.ended = True

    def _fail(self, error: Exception) -> None:
        """Everything under way fails, and the pipeline with it: after a failed step it takes no other."""
        log.error(
            "a step of openvino-genai failed; its pipeline is opened anew with the next request",
            exc_info=error,
        )
        self.failed_steps_total += 1
        self._pipeline = None
        failure = EngineError(
            f"a step of openvino-genai failed: {str(error).strip() or type(error).__name__}; try again"
        )
        out = [(sequence, Delta([], ended=True, error=failure)) for sequence in self._running]
        self._running.clear()
        self._deliver(out)
