"""The recall that is promised of a collection and the setting that holds it, in a file beside the collection."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import msgspec

from paceline.base.errors import StorageDamaged
from paceline.vectors.disk import replace_file, told
from paceline.vectors.recall_watch import Promise

FILE: Final = "recall.json"


class KeptRecall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `tune` found, in force until it is tuned again."""

    promise: Promise
    ef: int
    candidates: int

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """That of the collection in `folder`; None if it was never tuned. StorageDamaged."""
        file = folder / FILE
        try:
            with told(f"{file} cannot be read"):
                return msgspec.json.decode(file.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise StorageDamaged(f"{file} cannot be read ({error}); delete it and tune again") from error

    def write(self, folder: Path) -> None:
        """Keep it in `folder`, all or nothing. StorageError, StorageFull."""
        replace_file(folder / FILE, msgspec.json.encode(self))
