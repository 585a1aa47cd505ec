"""CUDA graphs for steps in which every text adds one token: hundreds of kernels are started by one call."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from paceline.generate.batch import Batch
from paceline.generate.torch_model.decoder import Decoder
from paceline.generate.torch_model.plan import DecodeGroup, Plan, spans_of

_SMALLEST_CONTEXT: Final = 256
_LARGEST_CONTEXT: Final = 8192
"""Longer ones run without a graph: there attention takes the time, not the start of kernels."""
_WARM_RUNS: Final = 2


class _Graph:
    """One recorded step of a number of texts and a padded context; its tensors stay where they are."""

    def __init__(self, decoder: Decoder, sequences: int, context: int, pool: Any) -> None:
        device = torch.device("cuda")
        spare, zero = decoder.cache.spare_slot, decoder.cache.zero_slot
        rows = torch.arange(sequences, device=device)
        nothing = torch.full((sequences, 1, 1, context), -torch.inf, device=device)
        nothing[..., 0] = 0.0  # a row of padding sees the zero slot: a softmax over nothing is NaN
        self.plan = Plan(
            tokens=torch.zeros(sequences, dtype=torch.int64, device=device),
            positions=torch.zeros(sequences, dtype=torch.int64, device=device),
            slots=torch.full((sequences,), spare, dtype=torch.int64, device=device),
            decodes=(
                DecodeGroup(
                    rows,
                    torch.full((sequences, context), zero, dtype=torch.int64, device=device),
                    nothing,
                ),
            ),
            prefills=(),
            wanted=rows,
        )
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(
            stream
        ):  # libraries set themselves up at a first run, which may not be recorded
            for _ in range(_WARM_RUNS):
                self._step(decoder)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.logits = self._step(decoder)

    def _step(self, decoder: Decoder) -> torch.Tensor:
        return decoder.logits(self.plan, decoder.layers(self.plan, decoder.embed(self.plan)))


class GpuGraphs:
    """Graphs by (texts, context), both rounded up to powers of two; recorded when first needed."""

    def __init__(self, decoder: Decoder, max_sequences: int, window: int | None) -> None:
        self._decoder = decoder
        self._max_sequences = max_sequences
        self._window = window
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._pool: Any = None

    def fits(self, batch: Batch) -> bool:
        """Whether a graph can run it: one wanted row of each text, not too many, not too long."""
        sequences = len(batch.contexts)
        return (
            len(batch.tokens) == sequences == len(batch.wanted)
            and sequences <= self._max_sequences
            and self._span(batch) <= _LARGEST_CONTEXT
        )

    def run(self, batch: Batch) -> torch.Tensor:
        """Logits (S, vocabulary), valid until the next run."""
        sequences = len(batch.contexts)
        size = 1 << (sequences - 1).bit_length()
        context = max(_SMALLEST_CONTEXT, 1 << (self._span(batch) - 1).bit_length())
        graph = self._graphs.get((size, context))
        if graph is None:
            graph = self._graphs[size, context] = _Graph(self._decoder, size, context, self._pool)
            self._pool = self._pool or graph.graph.pool()
        self._fill(graph.plan, batch, context)
        graph.graph.replay()
        return graph.logits[:sequences]

    def _fill(self, plan: Plan, batch: Batch, context: int) -> None:
        """Put the batch where the graph reads it; rows of padding write to the spare slot and see the zero slot."""
        cache, size, sequences = self._decoder.cache, len(plan.tokens), len(batch.contexts)
        slots, real = spans_of(
            batch.tables, batch.contexts, window=self._window, zero_slot=cache.zero_slot, padded=context
        )
        mask = np.full((size, 1, 1, context), -np.inf, np.float32)
        mask[:, :, :, 0] = 0.0
        mask[:sequences, 0, 0] = np.where(real, np.float32(0), np.float32(-np.inf))
        newest = np.minimum(batch.contexts, self._window or batch.contexts.max()) - 1
        written = np.take_along_axis(slots, newest[:, None].astype(np.int64), axis=1)[:, 0]
        for target, values, padding in (
            (plan.tokens, batch.tokens, 0),
            (plan.positions, batch.positions, 0),
            (plan.slots, written, cache.spare_slot),
            (plan.decodes[0].slots, slots, cache.zero_slot),
        ):
            whole = np.full(tuple(target.shape), padding, np.int64)
            whole[:sequences] = values
            target.copy_(torch.from_numpy(whole))
        plan.decodes[0].mask.copy_(torch.from_numpy(mask))

    def _span(self, batch: Batch) -> int:
        longest = int(batch.contexts.max(initial=1))
        return longest if self._window is None else min(longest, self._window)
