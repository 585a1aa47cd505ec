"""Frames of a log file: how a batch lies in it, and how a torn end is told from a damaged middle.

    header of the file   magic (8), number of the first frame (8), durable (8), salt (8), checksum (8)
    frame                magic (4), length (4), number (8), durable (8), checksum (8), payload

`durable` is the number of the last frame that an fsync had confirmed when this was written. After a power cut the end
of a file may hold anything: holes, and whole frames behind them. None of that was acknowledged, unless something whole
behind the bad place says that the frame in that place was durable: then acknowledged data is damaged. The salt keeps
bytes of other files, and frames that somebody writes into metadata, from being taken for frames of this one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import xxhash

from paceline.base.errors import StorageDamaged
from paceline.vectors.disk import told

_FILE_MAGIC: Final = b"PLVLOG\x00\x01"
_FRAME_MAGIC: Final = b"PLfr"
_FILE_HEADER: Final = struct.Struct("<8sQQQQ")
_FRAME_HEADER: Final = struct.Struct("<4sIQQQ")
_COVERED: Final = struct.Struct("<IQQ")
FILE_HEADER_BYTES: Final = _FILE_HEADER.size
FRAME_HEADER_BYTES: Final = _FRAME_HEADER.size
MOST_PAYLOAD: Final = (1 << 32) - 1


class FileHeader(msgspec.Struct, frozen=True):
    """What a log file begins with."""

    first: int
    durable: int
    salt: int

    def packed(self) -> bytes:
        """As the file holds it."""
        fields = (_FILE_MAGIC, self.first, self.durable, self.salt)
        return _FILE_HEADER.pack(*fields, _header_checksum(*fields[1:]))


class Frame(msgspec.Struct, frozen=True):
    """One batch of a log."""

    number: int
    durable: int
    payload: memoryview
    begin: int
    end: int  # places in the file, in bytes


class LogContent(msgspec.Struct, frozen=True):
    """What a log file holds."""

    header: FileHeader | None  # None: a crash while the file was made, so that nothing can be in it
    frames: list[Frame]
    size: int  # bytes of the file
    whole: int  # bytes up to the end of the last frame
    skipped: int = 0  # bytes of damaged frames, left out because the caller wanted it

    @property
    def dropped(self) -> int:
        """Bytes at the end in which no acknowledged frame lies."""
        return self.size - self.whole


def framed(number: int, durable: int, salt: int, payload: bytes) -> tuple[bytes, bytes]:
    """The frame of `payload`: header and payload."""
    checksum = _checksum(salt, number, durable, payload)
    return _FRAME_HEADER.pack(_FRAME_MAGIC, len(payload), number, durable, checksum), payload


def _header_checksum(*fields: int) -> int:
    return xxhash.xxh3_64_intdigest(struct.pack("<3Q", *fields))


def _checksum(salt: int, number: int, durable: int, payload: bytes | memoryview) -> int:
    digest = xxhash.xxh3_64(_COVERED.pack(len(payload), number, durable), seed=salt)
    digest.update(payload)
    return digest.intdigest()


def read_header(file: Path) -> FileHeader | None:
    """The header of `file`; None where a crash kept it from being written. StorageDamaged where it was changed."""
    with told(f"{file} cannot be read"), file.open("rb") as source:
        octets = source.read(FILE_HEADER_BYTES)
    if len(octets) < FILE_HEADER_BYTES or not any(octets):
        return None
    magic, first, durable, salt, checksum = _FILE_HEADER.unpack(octets)
    if magic != _FILE_MAGIC or checksum != _header_checksum(first, durable, salt):
        raise StorageDamaged(
            f"{file} does not begin as a log does: its header was changed; restore a snapshot"
        )
    return FileHeader(first, durable, salt)


def read_log(file: Path, *, known_durable: int = 0, skip_damaged: bool = False) -> LogContent:
    """The frames of `file`, in order. StorageDamaged if acknowledged ones cannot be read.

    `known_durable`: frames up to this number are known, from elsewhere, to have been acknowledged. With `skip_damaged`
    those that cannot be read are left out and counted, so that the rest can be saved.
    """
    header = read_header(file)
    with told(f"{file} cannot be read"):
        octets = file.read_bytes()
    if header is None:
        return LogContent(None, [], len(octets), 0)
    view, frames, skipped = memoryview(octets), list[Frame](), 0
    place, expected = FILE_HEADER_BYTES, header.first
    while True:
        frame = _frame_at(view, place, header.salt)
        if frame is None or frame.number != expected:
            later = [other for other in _frames_after(octets, place, header.salt) if other.number > expected]
            if expected > max([known_durable, *(other.durable for other in later)]):
                break
            if not skip_damaged:
                raise StorageDamaged(
                    f"{file} is damaged at byte {place}: frame {expected} was acknowledged and cannot be read; "
                    "restore a snapshot, or open the collection with skip_damaged to go on without it"
                )
            end = later[0].begin if later else len(octets)
            skipped += end - place
            place = end
            if not later:
                break
            frame = later[0]
        frames.append(frame)
        place, expected = frame.end, frame.number + 1
    return LogContent(header, frames, len(octets), place, skipped)


def _frame_at(octets: memoryview, place: int, salt: int) -> Frame | None:
    """The frame that begins at `place`, if a whole one does."""
    begin = place + FRAME_HEADER_BYTES
    if begin > len(octets):
        return None
    magic, length, number, durable, checksum = _FRAME_HEADER.unpack_from(octets, place)
    payload = octets[begin : begin + length]
    if (
        magic != _FRAME_MAGIC
        or len(payload) < length
        or _checksum(salt, number, durable, payload) != checksum
    ):
        return None
    return Frame(number, durable, payload, place, begin + length)


def _frames_after(octets: bytes, place: int, salt: int) -> Iterator[Frame]:
    """Whole frames behind a bad place, wherever they begin."""
    view = memoryview(octets)
    place = octets.find(_FRAME_MAGIC, place + 1)
    while place >= 0:
        frame = _frame_at(view, place, salt)
        if frame is not None:
            yield frame
        place = octets.find(_FRAME_MAGIC, place + 1 if frame is None else frame.end)
