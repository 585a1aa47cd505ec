"""Files that survive a power cut: written, synced and then named, and what the operating system says when it cannot."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from paceline.base.errors import StorageError, StorageFull

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PART: Final = ".part"
"""Ending of what is not complete yet; found when a folder is opened, it is what a crash left."""


def storage_error(what: str, error: OSError) -> StorageError:
    """What an error of the operating system means to a caller who wanted to do `what`."""
    if error.errno in _NO_ROOM:
        return StorageFull(f"{what}: no room ({error.strerror}); make some and write again")
    return StorageError(f"{what}: {error}; check the disk and the folder's permissions")


@contextmanager
def told(what: str) -> Iterator[None]:
    """Errors of the operating system inside become StorageError or StorageFull; a missing file stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(what, error) from error


def sync_folder(folder: Path) -> None:
    """Make names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(file: Path, content: bytes) -> None:
    """Write so that whatever happens there is the old content or the new, never half. StorageError, StorageFull."""
    part = file.with_name(file.name + PART)
    with told(f"{file} cannot be written"):
        try:
            with part.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            part.replace(file)
            sync_folder(file.parent)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise


@contextmanager
def made_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder to fill; it gets its name when the block ends well, and is removed otherwise."""
    part = folder.with_name(folder.name + PART)
    with told(f"{folder} cannot be written"):
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        try:
            yield part
            sync_folder(part)
            part.rename(folder)
            sync_folder(folder.parent)
        except BaseException:  # whatever it was: half a folder is of no use
            shutil.rmtree(part, ignore_errors=True)
            raise


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file systems differ. For files that never change."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}:
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as copy:
            os.fsync(copy.fileno())
