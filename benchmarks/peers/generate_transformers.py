"""transformers' `generate` in the generation benchmark: one static batch, which equal lengths make its best case."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import torch
import transformers
from generate_contest import THREADS, Output, compete

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


class FirstToken(transformers.generation.streamers.BaseStreamer):
    """Notes when the first token comes; the prompt is handed over first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _tokens: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


class Transformers:
    def __init__(self, model: Path, precision: str) -> None:
        torch.set_num_threads(THREADS)
        self.model = transformers.LlamaForCausalLM.from_pretrained(model, dtype=DTYPES[precision])
        self.versions = {name: version(name) for name in ("transformers", "torch")}
        self.settings = {"threads": THREADS, "batching": "static"}

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        started_at = time.perf_counter()
        ids = torch.tensor(prompts)
        watch = FirstToken()
        found = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            pad_token_id=0,
            streamer=watch if len(prompts) == 1 else None,
        )
        ended_at = time.perf_counter()
        # A streamer takes one sequence only; in a static batch the first tokens are not shown before the last.
        first_at = watch.times[1] if watch.times else ended_at
        return [Output(row, first_at - started_at) for row in found[:, ids.shape[1] :].tolist()]


if __name__ == "__main__":
    compete("transformers", Transformers, ("bf16", "fp32"))
