"""Records on disk: written as they come by several workers at once, and readable whatever happened meanwhile.

One line of JSON (`Header`), then blocks in the order in which they were written:

    'PLR1'  kind u8  worker u8  rows u32  length u32  crc32 u32  payload (length bytes)

Numbers are little-endian; the checksum covers everything else in the block. Every block is one write to a descriptor
that only appends, so blocks of several processes never mix and a killed process leaves at most one block cut short.
A block that was damaged is left out and the next sound one is searched for.

    ROWS     msgpack list of rows, each a list of integers in the order of `record.COLUMNS`
    TOKENS   of `rows` streams: index u32, number of tokens u32, first instant i64, then all gaps as u32 microseconds
    SECONDS  msgpack list of `Second`
    END      JSON of `WorkerEnd`
    SERVER   JSON of `ServerSample`
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate, chain, pairwise
from pathlib import Path

import msgspec

from paceline.base.errors import ConfigError
from paceline.measure.records.record import (
    COLUMNS,
    SCHEMA,
    Columns,
    Header,
    Row,
    RunFile,
    Second,
    ServerSample,
    Tokens,
    WorkerEnd,
)

MAGIC = b"PLR1"
_HEAD = struct.Struct("<4sBBII")
_CRC = struct.Struct("<I")
_PREFIX = _HEAD.size + _CRC.size

STRETCHES = 600
"""Runs without rows are read into at most about so many stretches of time a stage; longer ones merge seconds."""
_TRIES = 3
_LARGEST = 2**63 - 1
_encode = msgspec.msgpack.Encoder().encode
"""Ten times as fast as turning rows into columns; the generator has no time for those, and the reader has."""
_decode_rows = msgspec.msgpack.Decoder(list[tuple[int, ...]]).decode
_LONGEST_GAP_US = 0xFFFF_FFFF


class Kind(IntEnum):
    """What a block holds."""

    ROWS = 1
    TOKENS = 2
    SECONDS = 3
    END = 4
    SERVER = 5


def create(path: Path, header: Header) -> int:
    """Start a records file; returns a descriptor that appends, to be inherited by the workers.

    Raises ConfigError when the file exists already or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise ConfigError(
                f"records file {path} exists already; choose another name or remove it", param="records"
            ) from None
        raise ConfigError(
            f"records file {path} cannot be made: {error.strerror or error}", param="records"
        ) from error
    try:
        _write(fd, msgspec.json.encode(header) + b"\n")
    except BaseException:  # Ctrl-C too: a file without a header is of no use to anybody
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


class RecordWriter:
    """Appends the blocks of one worker (0 to 255). Every call is one write; raises ConfigError when the disk is full."""

    def __init__(self, fd: int, worker: int = 0) -> None:
        self._fd = fd
        self._worker = worker

    def rows(self, rows: Sequence[Row]) -> None:
        """Append finished requests; a number too large for its column becomes the largest that fits."""
        if not rows:
            return
        try:
            payload = _encode(rows)
        except OverflowError:  # a server may claim any number of tokens
            payload = _encode([[max(-_LARGEST, min(value, _LARGEST)) for value in row] for row in rows])
        self._append(Kind.ROWS, len(rows), payload)

    def tokens(self, streams: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Append (index of the request, instants of its tokens in ns, ascending); streams without a token are left out."""
        streams = [(index, times) for index, times in streams if times]
        if not streams:
            return
        gaps = array("I", chain.from_iterable(_gaps_us(times) for _, times in streams))
        payload = b"".join(
            _little(column).tobytes()
            for column in (
                array("I", [index for index, _ in streams]),
                array("I", [len(times) for _, times in streams]),
                array("q", [times[0] for _, times in streams]),
                gaps,
            )
        )
        self._append(Kind.TOKENS, len(streams), payload)

    def seconds(self, seconds: Sequence[Second]) -> None:
        """Append what was counted; the same second may come several times and adds up."""
        if seconds:
            self._append(Kind.SECONDS, len(seconds), msgspec.msgpack.encode(seconds))

    def end(self, end: WorkerEnd) -> None:
        """Append the worker's last word."""
        self._append(Kind.END, 1, msgspec.json.encode(end))

    def server(self, sample: ServerSample) -> None:
        """Append one look at the server."""
        self._append(Kind.SERVER, 1, msgspec.json.encode(sample))

    def _append(self, kind: Kind, rows: int, payload: bytes) -> None:
        head = _HEAD.pack(MAGIC, kind, self._worker, rows, len(payload))
        _write(self._fd, b"".join((head, _CRC.pack(zlib.crc32(payload, zlib.crc32(head))), payload)))


def _write(fd: int, block: bytes) -> None:
    """One write of the whole block.

    A write cut short (a signal, a disk just full) is done again from the start: to go on behind it could mix with
    another worker's block, while the reader steps over the piece that was left.
    """
    try:
        for _ in range(_TRIES):
            if os.write(fd, block) == len(block):
                return
    except OSError as error:
        raise ConfigError(
            f"records cannot be written: {error.strerror or error}; free some space or choose another place for the "
            "records",
            param="records",
        ) from error
    raise ConfigError(
        f"records cannot be written: {_TRIES} writes of {len(block):,} bytes were cut short; free some space or "
        "choose another place for the records",
        param="records",
    )


def _column(code: str, values: Sequence[int]) -> array[int]:
    try:
        return array(code, values)
    except OverflowError:  # a server may claim any number of tokens
        bits = 8 * array(code).itemsize
        low, high = (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return array(code, [min(max(value, low), high) for value in values])


def _gaps_us(times: Sequence[int]) -> Iterator[int]:
    """Gaps between neighbours. Of rounded offsets, so that they do not drift away from the first instant."""
    first = times[0]
    offsets = [(at - first + 500) // 1000 for at in times]
    return (min(max(later - earlier, 0), _LONGEST_GAP_US) for earlier, later in pairwise(offsets))


def _little(column: array[int]) -> array[int]:
    if sys.byteorder == "big":
        column.byteswap()
    return column


def read(path: Path) -> RunFile:
    """Read a records file, of a finished run or a broken-off one.

    Raises ConfigError when it cannot be opened, is no records file, or has a newer schema.
    """
    try:
        if not path.stat().st_size:
            raise ConfigError(
                f"records file {path} is empty: the run ended before it began; run it again", param="records"
            )
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header, start = _header(path, data)
            reading = _Reading(step_s=max(1, math.ceil(header.duration_s / STRETCHES)))
            lost = reading.blocks(data, start)
            size = len(data)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"records file {path} was written by another version: {error}", param="records"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"records file {path} cannot be read: {error.strerror or error}", param="records"
        ) from error
    return reading.result(header, _torn(lost, size))


def _header(path: Path, data: mmap.mmap) -> tuple[Header, int]:
    """The header, and where the first block begins."""
    foreign = ConfigError(
        f"{path} is no records file: its first line is not a header of {SCHEMA}; "
        "`paceline measure --records FILE` writes one",
        param="records",
    )
    if data[:1] != b"{" or (end := data.find(b"\n")) < 0:
        raise foreign
    line = data[:end]
    try:
        schema = msgspec.json.decode(line, type=_AnySchema).schema
    except msgspec.DecodeError:
        raise foreign from None
    name, _, version = schema.partition("/")
    known_name, _, known_version = SCHEMA.partition("/")
    if name != known_name or not version.isdecimal():
        raise foreign
    if int(version) > int(known_version):
        raise ConfigError(
            f"records file {path} has schema {schema} and this Paceline reads {SCHEMA}; use the newer Paceline that "
            "wrote it",
            param="records",
        )
    try:
        return msgspec.json.decode(line, type=Header), end + 1
    except msgspec.DecodeError as error:
        raise ConfigError(f"records file {path} has a damaged header: {error}", param="records") from error


class _AnySchema(msgspec.Struct):
    schema: str


class _Reading:
    """What was read so far."""

    def __init__(self, step_s: int) -> None:
        self.columns = Columns.empty()
        self.streams: list[tuple[int, array[int]]] = []
        self.seconds: dict[tuple[int, int], Second] = {}
        self.step_s = step_s
        self.ends: dict[int, WorkerEnd] = {}
        self.server: list[ServerSample] = []

    def blocks(self, data: mmap.mmap, at: int) -> list[tuple[int, int]]:
        """Take every sound block from `at` on; returns the stretches (begin, end) that are none, in bytes."""
        lost: list[tuple[int, int]] = []
        size = len(data)
        while at < size:
            end = self._block(data, at, size)
            if end is None:
                begin, at = at, data.find(MAGIC, at + 1)
                while at >= 0 and (end := self._block(data, at, size)) is None:
                    at = data.find(MAGIC, at + 1)
                lost.append((begin, at if at >= 0 else size))
                if end is None:
                    break
            at = end
        return lost

    def _block(self, data: mmap.mmap, at: int, size: int) -> int | None:
        """Take the block at `at`; returns where it ends, or None when there is no sound one."""
        if at + _PREFIX > size:
            return None
        head = data[at : at + _HEAD.size]
        magic, kind, worker, rows, length = _HEAD.unpack(head)
        begin = at + _PREFIX
        end: int = begin + length
        if magic != MAGIC or end > size:
            return None
        payload = data[begin:end]
        if _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) != data[at + _HEAD.size : begin]:
            return None
        self._take(kind, worker, rows, payload)
        return end

    def _take(self, kind: int, worker: int, rows: int, payload: bytes) -> None:
        if kind == Kind.ROWS:
            columns = zip(*_decode_rows(payload), strict=True)
            for (name, code), values in zip(COLUMNS, columns, strict=True):
                getattr(self.columns, name).extend(_column(code, values))
        elif kind == Kind.TOKENS:
            self._take_tokens(rows, payload)
        elif kind == Kind.SECONDS:
            self._take_seconds(msgspec.msgpack.decode(payload, type=list[Second]))
        elif kind == Kind.END:
            self.ends[worker] = msgspec.json.decode(payload, type=WorkerEnd)
        elif kind == Kind.SERVER:
            self.server.append(msgspec.json.decode(payload, type=ServerSample))
        # Other kinds are of a later version that still calls itself schema 1: what we know remains true.

    def _take_tokens(self, rows: int, payload: bytes) -> None:
        gaps = (len(payload) - rows * 16) // 4
        columns = _columns(payload, [("I", rows), ("I", rows), ("q", rows), ("I", gaps)])
        index, count, first, gap = columns
        at = 0
        for number, tokens, begin in zip(index, count, first, strict=True):
            times = accumulate(
                (1000 * microseconds for microseconds in gap[at : at + tokens - 1]), initial=begin
            )
            self.streams.append((number, array("q", times)))
            at += tokens - 1

    def _take_seconds(self, seconds: list[Second]) -> None:
        for second in seconds:
            second.at_s -= second.at_s % self.step_s
            second.span_s = self.step_s
            known = self.seconds.setdefault((second.at_s, second.stage), second)
            if known is not second:
                known.merge(second)

    def result(self, header: Header, torn: str | None) -> RunFile:
        """Everything in its order."""
        return RunFile(
            header=header,
            columns=self.columns.ordered(),
            tokens=self._tokens(),
            seconds=[second for _, second in sorted(self.seconds.items())],
            ends=[end for _, end in sorted(self.ends.items())],
            server=sorted(self.server, key=lambda sample: sample.at_s),
            torn=torn,
        )

    def _tokens(self) -> Tokens:
        self.streams.sort(key=lambda stream: stream[0])
        tokens = Tokens.empty()
        for index, times in self.streams:
            tokens.index.append(index)
            tokens.times_ns.extend(times)
            tokens.start.append(len(tokens.times_ns))
        return tokens


def _columns(payload: bytes, shape: list[tuple[str, int]]) -> list[array[int]]:
    """Arrays of (type code, length) that lie one after another."""
    at = 0
    view = memoryview(payload)
    columns = []
    for code, length in shape:
        column = array(code)
        end = at + length * column.itemsize
        column.frombytes(view[at:end])
        columns.append(_little(column))
        at = end
    return columns


def _torn(lost: list[tuple[int, int]], size: int) -> str | None:
    if not lost:
        return None
    total = sum(end - begin for begin, end in lost)
    at_end = lost[-1][1] == size
    place = f"in {len(lost)} places" if len(lost) > 1 else "at the end" if at_end else "in the middle"
    return f"{total:,} bytes {place} of the records could not be read: cut short or damaged"
