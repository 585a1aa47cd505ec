"""Our engine on a GPU beside transformers' continuous batching: `python benchmarks/generate_gpu.py`.

A random Llama of 1 B parameters in bf16 (made in a temporary folder), prompts of 128 tokens, answers of 100. Figures:

- decode of one text, as a share of what the memory bus allows: bytes of weights, keys and values read per token,
  against the rate of a large copy on the same card in the same run;
- requests a second with 100 texts at a time through the engine (scheduler, paged cache, sampler), with the share of
  time the GPU worked (NVML's utilisation, where pynvml is installed);
- the same prompts through transformers' `generate_batch`, in turn, with its defaults.

`--tiny --device cpu` runs the same code on a little model without a GPU, to see that it runs; its figures mean nothing.
Not run on a GPU so far: no figure of it is published.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import torch
import transformers
from load import machine
from transformers.generation import GenerationConfig

from paceline.base.generation import Sampling
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.engine import Engine
from paceline.generate.memory_formula import kv_block_bytes
from paceline.generate.runner import BLOCK_TOKENS
from paceline.generate.sampler import Row, Sampler
from paceline.generate.scheduler import SchedulePolicy
from paceline.generate.sequence import Delta, Sequence
from paceline.generate.torch_model.runner import TorchRunner

PROMPT, ANSWER, TEXTS, ROUNDS = 128, 100, 100, 3
ONE_BILLION = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32_000,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
}


def make_model(folder: Path, sizes: dict[str, int]) -> None:
    """Random weights of the usual spread, in bf16."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **sizes, max_position_embeddings=2048, eos_token_id=None, bos_token_id=1
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def prompts_of(vocabulary: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, vocabulary, PROMPT).astype(np.int32) for _ in range(count)]


class Answers:
    """Takes what the engine delivers."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.texts: list[list[int]] = []
        self._left = 0

    def expect(self, count: int) -> None:
        self.done.clear()
        self.texts = [[] for _ in range(count)]
        self._left = count

    def __call__(self, out: list[tuple[Sequence, Delta]]) -> None:
        for sequence, delta in out:
            self.texts[sequence.stream].extend(delta.tokens)
            self._left -= delta.finish is not None
        if not self._left:
            self.done.set()


def answer(engine: Engine, answers: Answers, prompts: list[np.ndarray]) -> float:
    """Seconds until all prompts are answered."""
    answers.expect(len(prompts))
    started_at = time.perf_counter()
    engine.submit(
        *(
            Sequence(prompt, Row(Sampling(temperature=0.0), 0, prompt), number, max_tokens=ANSWER)
            for number, prompt in enumerate(prompts)
        )
    )
    answers.done.wait()
    seconds = time.perf_counter() - started_at
    assert all(len(text) == ANSWER for text in answers.texts)
    return seconds


def copy_rate(device: torch.device) -> float:
    """Bytes per second read and written by a copy larger than any cache."""
    source = torch.empty(1 << (30 if device.type == "cuda" else 26), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    rates = []
    for _ in range(10):
        wait()
        started_at = time.perf_counter()
        target.copy_(source)
        wait()
        rates.append(2 * source.nbytes / (time.perf_counter() - started_at))
    return statistics.median(rates)


class Utilisation:
    """Mean of NVML's share of time in which a kernel ran, sampled ten times a second; None without pynvml."""

    def __enter__(self) -> Self:
        self.samples: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        try:
            import pynvml
        except ModuleNotFoundError:
            return
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        while not self._ended.wait(0.1):
            self.samples.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def share(self) -> float | None:
        return statistics.mean(self.samples) / 100 if self.samples else None


def transformers_batch(folder: Path, device: str, prompts: list[np.ndarray]) -> Callable[[], float]:
    """Requests per second of transformers' continuous batching."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    settings = GenerationConfig(max_new_tokens=ANSWER, do_sample=False, eos_token_id=-1, pad_token_id=0)
    inputs = [prompt.tolist() for prompt in prompts]

    def run() -> float:
        started_at = time.perf_counter()
        outputs = model.generate_batch(inputs, generation_config=settings)
        seconds = time.perf_counter() - started_at
        assert len(outputs) == len(inputs)
        assert all(len(each.generated_tokens) == ANSWER for each in outputs.values())
        return len(inputs) / seconds

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--no-peer", action="store_true", help="leave transformers out")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; --tiny --device cpu shows that the script runs")
    device = torch.device(options.device)
    sizes = TINY if options.tiny else ONE_BILLION
    print(
        machine(),
        torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch",
        torch.__version__,
    )
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), sizes)
        blocks = options.texts * -(-(PROMPT + ANSWER + 1) // BLOCK_TOKENS)
        runner = TorchRunner(
            Checkpoint.open(Path(folder)),
            precision="bf16",
            kv_precision="bf16",
            blocks=blocks,
            state_dir=Path(folder),
            device=options.device,
            graph_sequences=options.texts,
        )
        policy = SchedulePolicy(max_batch_tokens=2048, max_sequences=options.texts)
        answers = Answers()
        engine = Engine(runner, Sampler(sizes["vocab_size"]), policy, answers, reuse_prefixes=False)
        engine.start()
        prompts = prompts_of(sizes["vocab_size"], options.texts)
        answer(engine, answers, prompts)  # records the graphs
        answer(engine, answers, prompts[:1])

        single = statistics.median(answer(engine, answers, prompts[:1]) for _ in range(ROUNDS))
        table = runner.config.vocab_size * runner.config.hidden_size * 2
        context = kv_block_bytes(runner.config, "bf16") * (PROMPT + ANSWER / 2) / BLOCK_TOKENS
        read = runner.memory.weights_bytes - table + context  # of the embedding table one row
        bus = copy_rate(device)
        print(
            f"one text: {ANSWER / single:.1f} tokens/s with its prompt, {read * ANSWER / single / bus:.2f} of the bus "
            f"({bus / 1e9:.0f} GB/s by a copy)"
        )
        peer = None if options.no_peer else transformers_batch(Path(folder), options.device, prompts)
        if peer is not None:
            peer()
        ours, theirs, shares = [], [], []
        for _ in range(ROUNDS):
            with Utilisation() as watched:
                seconds = answer(engine, answers, prompts)
            ours.append(options.texts / seconds)
            shares.append(watched.share)
            if peer is not None:
                theirs.append(peer())
        print(
            f"{options.texts} texts: {statistics.median(ours):.1f} requests/s (rounds {ours}), GPU busy {shares}"
        )
        if theirs:
            print(
                f"transformers generate_batch: {statistics.median(theirs):.1f} requests/s (rounds {theirs})"
            )
        engine.close()


if __name__ == "__main__":
    main()
