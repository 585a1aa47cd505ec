"""What of a file has arrived: `Journal`, one line for each batch that was acknowledged.

{"file": "glosses.jsonl", "bytes": 81234567, "batch": 100, "into": "glosses at http://127.0.0.1:8080"}
0
2
1
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import msgspec

from paceline.base.errors import ConfigError
from paceline.vectors.disk import told


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the numbers of batches are of."""

    file: str
    bytes: int
    batch: int
    into: str = ""
    """Where the records go."""

    @classmethod
    def of(cls, file: Path, batch: int, into: str = "") -> Self:
        """A file as it is now."""
        return cls(file.name, file.stat().st_size, batch, into)


class Journal:
    """Numbers of acknowledged batches, kept in `path`; a torn last line counts as not acknowledged.

    ConfigError if the journal there is of another source.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        head = msgspec.json.encode(source) + b"\n"
        self.done: set[int] = set()
        whole = head
        if path.exists():
            first, *lines = path.read_bytes().split(b"\n")
            if first + b"\n" != head:
                raise ConfigError(
                    f"{path} is the journal of {first.decode(errors='replace')[:200]}; delete it to load "
                    f"{source.file} from its beginning"
                )
            self.done = {int(line) for line in lines[:-1] if line.isdigit()}
            whole = head + b"".join(b"%d\n" % number for number in sorted(self.done))
        with told(f"{path} cannot be written"):
            path.write_bytes(whole)
            self._out = path.open("ab", buffering=0)

    def add(self, number: int) -> None:
        """A batch was acknowledged."""
        with told(f"{self.path} cannot be written"):
            self._out.write(b"%d\n" % number)
            self.done.add(number)

    def close(self, *, is_complete: bool) -> None:
        """Keep the journal for the next try, or remove it once all has arrived."""
        if is_complete:
            self.path.unlink()
        else:
            os.fsync(self._out.fileno())
        self._out.close()
