"""Rounds of all contestants in turn, so that a fast or slow minute of the machine meets everybody."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence

from benchmarks.load import machine
from benchmarks.peers.load_testers.contestants import Figures

Results = dict[str, list[Figures]]


def arguments(
    description: str, contestants: Iterable[str], *, seconds: float, rounds: int = 5
) -> argparse.Namespace:
    """--only, --seconds, --rounds; --quick is one short round that shows that everything runs."""
    names = list(contestants)
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="these contestants")
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="one round of 4 seconds")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds = 1, min(4.0, given.seconds)
    print(f"{machine()}; {given.rounds} rounds of {given.seconds:g} s", flush=True)
    return given


def alternate(names: Sequence[str], rounds: int, run: Callable[[str], Figures]) -> Results:
    """Every round begins with another contestant. One that fails is told of and has no numbers in that round."""
    results: Results = {name: [] for name in names}
    for number in range(rounds):
        for offset in range(len(names)):
            name = names[(number + offset) % len(names)]
            try:
                results[name].append(run(name))
            except (RuntimeError, AssertionError, KeyError, ValueError, OSError) as error:
                print(f"{name}: {error!r}"[:2000], file=sys.stderr, flush=True)
                results[name].append(Figures(said=f"failed: {type(error).__name__}"))
    return results


def spread(values: Iterable[float | None], digits: int = 2) -> str:
    """Median and, of several rounds, the least and the greatest; a dash when nobody said anything."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    text = f"{statistics.median(known):,.{digits}f}"
    return text if len(known) == 1 else f"{text} [{min(known):,.{digits}f}, {max(known):,.{digits}f}]"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Markdown; numbers to the right."""
    print(f"\n| {' | '.join(header)} |\n| --- {'| ---: ' * (len(header) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def remarks(results: Results) -> None:
    """What testers said of their own runs, each once."""
    for name, figures in results.items():
        said = sorted({each.said for each in figures if each.said})
        if said:
            print(f"{name} says: {'; '.join(said)}")
