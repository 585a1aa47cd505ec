"""Which collection an answer in a shared cache is of: an identity that no other content can have.

Name and version are not enough: a collection may be dropped and made anew, restored, or lie on another host. So each has
a random identity. It is kept from one opening to the next only if the collection was closed in between: after a crash
the log may have lost writes that were searched but not yet safe, and their version numbers come again.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from paceline.vectors.disk import replace_file, told

FILE: Final = "identity"
_BYTES: Final = 16


def take_identity(folder: Path) -> str:
    """That of the collection in `folder`, which must be open here: of a folder that was copied, both go on alone."""
    file = folder / FILE
    with told(f"{file} cannot be taken"):
        kept = ""
        with suppress(FileNotFoundError):
            kept = file.read_text()
            file.unlink()
    return kept if len(kept) == 2 * _BYTES else secrets.token_hex(_BYTES)


def leave_identity(folder: Path, identity: str) -> None:
    """Keep it for the next opening; after the last write."""
    replace_file(folder / FILE, identity.encode())
