"""llama.cpp in the generation benchmark, through the C interface that llama-cpp-python binds.

Batched decoding: each request is a sequence, a step decodes one token of each in one `llama_decode`. Per sequence
buffers of keys and values and flash attention were the fastest of its settings (see README.md); the likeliest tokens are
taken from all rows of logits at once, which is cheaper than its samplers.
"""

from __future__ import annotations

import ctypes
import os
import time
from importlib.metadata import version
from pathlib import Path

import llama_cpp
import numpy as np
from generate_contest import NEW_TOKENS, PROMPT_TOKENS, THREADS, Output, compete

BATCH = 2048
MICRO_BATCH = int(os.environ.get("PEER_LLAMA_UBATCH", "512"))
UNIFIED = os.environ.get("PEER_LLAMA_UNIFIED") == "1"
FLASH = os.environ.get("PEER_LLAMA_FLASH") != "0"


class LlamaCpp:
    def __init__(self, model: Path, precision: str) -> None:
        llama_cpp.llama_backend_init()
        path = model / f"{model.name}-{precision}.gguf"
        self.model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}; make it with generate_models.py")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self.context, self.sequences = None, 0
        self.versions = {"llama-cpp-python": version("llama-cpp-python")}
        self.settings = {
            "threads": THREADS,
            "flash_attention": FLASH,
            "n_batch": BATCH,
            "n_ubatch": MICRO_BATCH,
            "kv_unified": UNIFIED,
            "kv": "f16",
            "system": llama_cpp.llama_print_system_info().decode(),
        }

    def _open_context(self, sequences: int) -> None:
        """A context is made for a number of sequences; another number needs another."""
        if sequences == self.sequences:
            return
        if self.context:
            llama_cpp.llama_free(self.context)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = sequences * (PROMPT_TOKENS + NEW_TOKENS)
        params.n_seq_max = sequences
        params.n_batch, params.n_ubatch = BATCH, MICRO_BATCH
        params.n_threads = params.n_threads_batch = THREADS
        params.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if FLASH else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.kv_unified = UNIFIED
        self.context, self.sequences = llama_cpp.llama_init_from_model(self.model, params), sequences
        if not self.context:
            raise RuntimeError(f"llama.cpp could not make a context for {sequences} sequences")

    def _decode(self, rows: list[tuple[int, int, int, bool]]) -> np.ndarray:
        """Rows are (token, position, sequence, wanted); returns the likeliest next token of each wanted row."""
        batch, wanted_count = self.batch, 0
        batch.n_tokens = len(rows)
        for row, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = wanted
            wanted_count += wanted
        status = llama_cpp.llama_decode(self.context, batch)
        if status:
            raise RuntimeError(f"llama_decode answered {status} to {len(rows)} rows")
        if not wanted_count:
            return np.empty(0, np.int64)
        pointer = ctypes.cast(llama_cpp.llama_get_logits(self.context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (wanted_count, self.vocab)).argmax(1)

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        self._open_context(len(prompts))
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)
        started_at = time.perf_counter()
        outputs = [Output([], 0.0) for _ in prompts]
        together = BATCH // PROMPT_TOKENS
        for first in range(0, len(prompts), together):
            group = prompts[first : first + together]
            likeliest = self._decode(
                [
                    (token, position, first + number, position == len(prompt) - 1)
                    for number, prompt in enumerate(group)
                    for position, token in enumerate(prompt)
                ]
            )
            arrived_s = time.perf_counter() - started_at
            for output, token in zip(outputs[first:], likeliest.tolist(), strict=False):
                output.tokens.append(token)
                output.first_s = arrived_s
        for step in range(1, new_tokens):
            rows = [
                (output.tokens[-1], PROMPT_TOKENS + step - 1, number, True)
                for number, output in enumerate(outputs)
            ]
            for output, token in zip(outputs, self._decode(rows).tolist(), strict=True):
                output.tokens.append(token)
        return outputs


if __name__ == "__main__":
    compete("llama.cpp", LlamaCpp, ("q8_0", "bf16", "q4_0"))
