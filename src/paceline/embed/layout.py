"""How one model uses the cores: streams, threads, batch budget and precision, measured at the first start and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
import xxhash

from paceline.base.errors import ConfigError
from paceline.embed.policy import EmbedPolicy
from paceline.embed.state_file import replace_file
from paceline.flow.batch_queue import BatchPolicy

COSTS: Final = (512, 256)
"""Tokens in a batch that are tried, for each thread of a stream; the first unless another is clearly better."""

CLEARLY: Final = 1.05
"""What is not usual (fewer streams, by both clocks; another budget) must be faster by this: otherwise it only looks so.

A smaller budget also pays the hand-over between event loop and engine more often, which the measurement does not see.
"""

FORMAT: Final = "3"

Precision = Literal["fp32", "bf16", "int8"]


class Layout(msgspec.Struct, frozen=True):
    """The shape in which an engine runs."""

    streams: int
    """Batches at the same time; the engine's lanes."""
    threads: int
    """Threads over all streams."""
    max_cost: int
    """Padded tokens of a batch beyond which a larger one is not faster."""
    bucket: int
    """Lengths are rounded up to a multiple of this."""
    precision: Precision
    rates: dict[str, float] = {}
    """What was measured, in tokens per second of a shortened model: read ratios."""


class Rate(NamedTuple):
    """Tokens per second in batches of a layout's `max_cost` on all its streams."""

    wall: float
    """By the clock on the wall; moved by whatever else runs on the machine."""
    cpu: float
    """By the processor time of one core; hardly moved, but blind to cores that idle."""


Measure = Callable[[Sequence[Layout]], Sequence[Rate]]
"""Rates of several layouts, measured in turns so that noise meets all of them."""


def choose(policy: EmbedPolicy, cores: int, precisions: Sequence[Precision], measure: Measure) -> Layout:
    """The best layout: first precision, then streams, then batch budget, each with the best of those before.

    Values that `policy` sets are taken as they are; with all of them set nothing is measured. Precision and budget
    go by processor time; a stream has one thread unless another count is clearly better.
    """
    threads = policy.threads or cores
    streams = [policy.streams] if policy.streams else stream_counts(threads)
    start = Layout(streams[0], threads, policy.batch.max_cost or 512, policy.batch.bucket or 8, precisions[0])
    rates: dict[str, float] = {}

    def measured(layouts: list[Layout]) -> Sequence[Rate]:
        results = measure(layouts)
        for layout, rate in zip(layouts, results, strict=True):
            name = f"{layout.precision} streams={layout.streams} max_cost={layout.max_cost}"
            rates.update({f"{name} wall": round(rate.wall), f"{name} cpu": round(rate.cpu)})
        return results

    layout = start
    if len(precisions) > 1:
        tried = [msgspec.structs.replace(start, precision=precision) for precision in precisions]
        layout = max(zip(tried, measured(tried), strict=True), key=lambda pair: pair[1].cpu)[0]
    if len(streams) > 1:
        tried = [msgspec.structs.replace(layout, streams=count) for count in streams]
        results = measured(tried)
        usual = results[0]
        gains = [min(rate.wall / usual.wall, rate.cpu / usual.cpu) for rate in results]
        layout = tried[gains.index(max(gains))] if max(gains) > CLEARLY else tried[0]
    if not policy.batch.max_cost:
        tried = [
            msgspec.structs.replace(layout, max_cost=cost * (threads // layout.streams)) for cost in COSTS
        ]
        results = measured(tried)
        gains = [rate.cpu / results[0].cpu for rate in results]
        layout = tried[gains.index(max(gains))] if max(gains) > CLEARLY else tried[0]
    return msgspec.structs.replace(layout, rates=rates)


def resolved(policy: BatchPolicy, layout: Layout) -> BatchPolicy:
    """The policy with the layout's values for what is 0: `max_cost`, `bucket`."""
    return msgspec.structs.replace(
        policy, max_cost=policy.max_cost or layout.max_cost, bucket=policy.bucket or layout.bucket
    )


def stream_counts(threads: int) -> list[int]:
    """Stream counts worth trying: one thread each, groups of 2, 4, 8, ..., and all threads on one batch."""
    counts = {1, threads}
    group = 2
    while group < threads:
        counts.add(threads // group)
        group *= 2
    return sorted(counts, reverse=True)


def kept(file: Path, make: Callable[[], Layout]) -> Layout:
    """The layout in `file`; made and written when it is missing or damaged. Raises ConfigError on a failing disk."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Layout)
    except (OSError, msgspec.MsgspecError):  # missing or damaged: measured and replaced below
        pass
    layout = make()
    replace_file(file, msgspec.json.format(msgspec.json.encode(layout)))
    return layout


def layout_file(state_dir: Path, policy: EmbedPolicy, digest: str, library: str) -> Path:
    """Where the layout of this model, on these cores, with this library and these settings is kept."""
    parts = (
        FORMAT, cpu_model(), str(usable_cores()), digest, library,
        policy.precision, str(policy.streams), str(policy.threads), str(policy.batch.max_cost), str(policy.batch.bucket),
    )  # fmt: skip
    return state_dir / f"layout-{xxhash.xxh3_64_hexdigest('|'.join(parts).encode())}.json"


def usable_cores() -> int:
    """Cores this process may use: affinity, and the container's CPU quota rounded down, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(Path("/sys/fs/cgroup"))
    return max(1, min(cores, int(quota))) if quota else cores


def cpu_quota(cgroup: Path) -> float | None:
    """Cores' worth of time the control group allows, or None without a limit; reads cgroup v2, then v1."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if limit == "max" or int(limit) <= 0:
        return None
    return int(limit) / int(period)


def cpu_model(source: Path = Path("/proc/cpuinfo")) -> str:
    """Name and instruction sets of the processor; two machines with the same string run alike."""
    try:
        lines = source.read_text().splitlines()
    except OSError:
        return "unknown"
    wanted = {"model name", "model", "stepping", "flags", "Features", "CPU part"}
    return "|".join(
        line.split(":", 1)[1].strip() for line in lines[:40] if line.split("\t")[0].strip() in wanted
    )


def check_threads(policy: EmbedPolicy, cores: int) -> None:
    """Raise ConfigError when more streams are asked for than there are threads to run them."""
    threads = policy.threads or cores
    if policy.streams > threads:
        raise ConfigError(
            f"embed.streams = {policy.streams} is more than the {threads} threads there are; "
            f"set embed.streams to {threads} or less, or embed.threads to more",
            param="embed.streams",
        )
