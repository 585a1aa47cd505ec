"""The choice of streams, batch budget and precision, with rates given instead of measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from paceline.base.errors import ConfigError
from paceline.embed.layout import (
    Layout,
    Measure,
    Rate,
    check_threads,
    choose,
    cpu_model,
    cpu_quota,
    kept,
    layout_file,
    stream_counts,
    usable_cores,
)
from paceline.embed.policy import EmbedPolicy
from paceline.flow.batcher import BatchPolicy


def machine(rate: Callable[[Layout], float], seen: list[Layout] | None = None) -> Measure:
    """A machine on which `layout` runs at `rate(layout)` by both clocks."""

    def measure(layouts: Sequence[Layout]) -> list[Rate]:
        if seen is not None:
            seen.extend(layouts)
        return [Rate(rate(layout), rate(layout)) for layout in layouts]

    return measure


def test_the_faster_precision_wins() -> None:
    chosen = choose(
        EmbedPolicy(), 2, ["fp32", "bf16"], machine(lambda layout: 2.0 if layout.precision == "bf16" else 1.0)
    )
    assert chosen.precision == "bf16"

    chosen = choose(
        EmbedPolicy(), 2, ["fp32", "bf16"], machine(lambda layout: 0.6 if layout.precision == "bf16" else 1.0)
    )
    assert chosen.precision == "fp32"


@pytest.mark.parametrize(("gain", "streams"), [(0.9, 4), (1.05, 4), (1.3, 1)])
def test_one_thread_a_stream_unless_another_count_is_clearly_better(gain: float, streams: int) -> None:
    chosen = choose(EmbedPolicy(), 4, ["fp32"], machine(lambda layout: gain if layout.streams == 1 else 1.0))

    assert (chosen.streams, chosen.threads) == (streams, 4)


@pytest.mark.parametrize(("gain", "budget"), [(0.9, 512), (1.05, 512), (1.3, 256)])
def test_the_usual_budget_unless_another_is_clearly_better(gain: float, budget: int) -> None:
    chosen = choose(
        EmbedPolicy(), 2, ["fp32"], machine(lambda layout: gain if layout.max_cost == 256 else 1.0)
    )

    assert chosen.max_cost == budget


def test_streams_that_are_faster_by_one_clock_only_are_noise() -> None:
    def measure(layouts: Sequence[Layout]) -> list[Rate]:
        return [Rate(2.0 if layout.streams == 1 else 1.0, 1.0) for layout in layouts]

    assert choose(EmbedPolicy(), 2, ["fp32"], measure).streams == 2


def test_the_budget_grows_with_the_threads_of_a_stream() -> None:
    seen: list[Layout] = []
    policy = EmbedPolicy(streams=2, threads=8)

    choose(policy, 8, ["fp32"], machine(lambda _: 1.0, seen))

    assert [layout.max_cost for layout in seen] == [2048, 1024]


def test_what_the_policy_sets_is_taken_and_not_measured() -> None:
    seen: list[Layout] = []
    policy = EmbedPolicy(streams=3, threads=6, batch=BatchPolicy(max_cost=77, bucket=4))

    chosen = choose(policy, 2, ["int8"], machine(lambda _: 1.0, seen))

    assert chosen == Layout(3, 6, 77, 4, "int8")
    assert seen == []


@pytest.mark.parametrize(
    ("threads", "counts"), [(1, [1]), (2, [2, 1]), (6, [6, 3, 1]), (16, [16, 8, 4, 2, 1])]
)
def test_stream_counts_that_are_tried(threads: int, counts: list[int]) -> None:
    assert stream_counts(threads) == counts


def test_more_streams_than_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"embed.streams = 9 is more than the 4 threads"):
        check_threads(EmbedPolicy(streams=9, threads=4), 2)


def test_a_layout_is_measured_once_and_again_when_its_file_is_damaged(tmp_path: Path) -> None:
    made: list[Layout] = []

    def make() -> Layout:
        made.append(Layout(2, 2, 512, 8, "fp32", {"fp32": 1.0}))
        return made[-1]

    file = tmp_path / "state" / "layout.json"

    assert kept(file, make) == kept(file, make)
    assert len(made) == 1

    file.write_text('{"streams": ')
    assert kept(file, make) == made[0]
    assert len(made) == 2
    assert [path.name for path in file.parent.iterdir()] == ["layout.json"]


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"layout.json cannot be written"):
        kept(tmp_path / "file" / "layout.json", lambda: Layout(1, 1, 512, 8, "fp32"))


def test_settings_model_and_library_have_files_of_their_own(tmp_path: Path) -> None:
    files = {
        layout_file(tmp_path, policy, digest, library)
        for policy in (EmbedPolicy(), EmbedPolicy(precision="int8"), EmbedPolicy(streams=1))
        for digest in ("a", "b")
        for library in ("2026.4", "2027.0")
    }

    assert len(files) == 12


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_the_control_group(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert cpu_quota(tmp_path) == cores


def test_this_machine_has_cores_and_a_processor(tmp_path: Path) -> None:
    assert usable_cores() >= 1
    assert cpu_model() != ""
    assert cpu_model(tmp_path / "none") == "unknown"
