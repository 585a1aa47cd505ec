"""A process that is killed between log and texts leaves both, and the next one finds every acknowledged word."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import text_writer as writer

from paceline.vectors.collection import Collection

KILLED_AFTER = (1, 7, 18, 26)
"""Operations of each life."""


def killed(folder: Path, first: int, after: int) -> int:
    """Run a writer, and kill it once it has acknowledged so many operations; returns the number of the next."""
    command = [sys.executable, str(Path(writer.__file__)), str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = first
        for line in process.stdout:
            assert int(line) == done
            done += 1
            if done == first + after:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return done


def test_acknowledged_words_survive_kills(tmp_path: Path) -> None:
    """The operation that was under way may be there, all of it; texts and records agree."""
    folder, state, number = tmp_path / "c", dict[str, int](), 0
    Collection.create(folder, writer.SCHEMA, policy=writer.POLICY).close()
    for after in KILLED_AFTER:
        done = killed(folder, number, after)
        while number < done:
            state, number = writer.after(state, number), number + 1
        with Collection.open(folder, policy=writer.POLICY) as collection:
            found = collection.by_words("all", 1000, include_metadata=True)
            held = {
                match.id: int(match.metadata["text"].removeprefix("all op"))
                for match in found
                if match.metadata
            }

            assert held in (state, writer.after(state, number))
            for operation in set(held.values()):
                expected = {name for name, by in held.items() if by == operation}
                assert {match.id for match in collection.by_words(f"op{operation}", 100)} == expected
            assert set(collection.fetch([f"v{one}" for one in range(writer.IDS)])) == set(held)
            assert collection.stats().damaged == {}
        if held != state:
            state, number = held, number + 1
