"""The log: what is acknowledged is read back, whatever happened to the end of the file."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paceline.base.errors import StorageDamaged, StorageError, StorageFull
from paceline.vectors.frames import FILE_HEADER_BYTES, framed, read_header
from paceline.vectors.policy import DurabilityPolicy
from paceline.vectors.wal import Log, log_file, log_numbers, replayed, settle_log

ALWAYS = DurabilityPolicy()
PAYLOADS = [b"first", b"", b"third" * 100]


def write(folder: Path, payloads: list[bytes] = PAYLOADS, *, number: int = 1, written: int = 0) -> Path:
    log = Log(folder, number, written, ALWAYS)
    for payload in payloads:
        log.commit(log.append(payload))
    log.close()
    return log_file(folder, number)


def read(folder: Path, **options: bool) -> list[bytes]:
    return [bytes(frame.payload) for content in replayed(folder, 1, **options) for frame in content.frames]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a full disk as the system tells it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_written_is_read_back_in_order(tmp_path: Path) -> None:
    write(tmp_path)

    assert read(tmp_path) == PAYLOADS


def test_an_end_torn_at_any_byte_of_the_last_frame_loses_that_frame_only(tmp_path: Path) -> None:
    file = write(tmp_path)
    whole = file.read_bytes()
    last = len(whole) - len(b"".join(framed(3, 2, 0, PAYLOADS[2])))

    for size in range(last, len(whole)):
        file.write_bytes(whole[:size])
        (content,) = replayed(tmp_path, 1)

        assert [bytes(frame.payload) for frame in content.frames] == PAYLOADS[:2]
        assert content.dropped == size - last


def test_a_flipped_bit_in_any_byte_before_the_last_frame_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    whole = file.read_bytes()
    last = len(whole) - len(b"".join(framed(3, 2, 0, PAYLOADS[2])))

    for place in range(last):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(StorageDamaged, match=r"restore a snapshot"):
            read(tmp_path)


def test_a_damaged_frame_can_be_skipped_and_its_bytes_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path)
    whole = bytearray(file.read_bytes())
    whole[FILE_HEADER_BYTES + 33] ^= 1
    file.write_bytes(whole)

    (content,) = replayed(tmp_path, 1, skip_damaged=True)

    assert [bytes(frame.payload) for frame in content.frames] == PAYLOADS[1:]
    assert content.skipped == len(b"".join(framed(1, 0, 0, PAYLOADS[0])))


def test_holes_before_whole_frames_that_no_fsync_confirmed_are_a_torn_end(tmp_path: Path) -> None:
    """A power cut may keep a later page and lose an earlier one; neither was acknowledged."""
    log = Log(tmp_path, 1, 0, ALWAYS)
    log.commit(log.append(b"kept"))
    log.append(b"lost")
    log.append(b"behind")
    file, hole = log_file(tmp_path, 1), log.size - len(b"".join(framed(3, 1, 0, b"behind"))) - 10
    os.close(log._handle)
    content = bytearray(file.read_bytes())
    content[hole : hole + 10] = bytes(10)
    file.write_bytes(content)

    assert read(tmp_path) == [b"kept"]


def test_a_frame_that_a_caller_wrote_into_its_data_is_not_taken_for_one(tmp_path: Path) -> None:
    forged = b"".join(framed(2, 1, 0, b"forged"))
    file = write(tmp_path, [b"kept", forged])
    file.write_bytes(file.read_bytes()[:-1])

    assert read(tmp_path) == [b"kept"]


def test_a_file_cut_while_its_header_was_written_is_empty(tmp_path: Path) -> None:
    file = write(tmp_path, [])
    for size in range(FILE_HEADER_BYTES):
        file.write_bytes(bytes(size))

        assert read(tmp_path) == []


def test_frames_missing_at_the_end_of_an_older_log_are_refused(tmp_path: Path) -> None:
    older = write(tmp_path)
    write(tmp_path, [b"fourth"], number=2, written=3)
    older.write_bytes(older.read_bytes()[: -len(b"".join(framed(3, 2, 0, PAYLOADS[2])))])

    with pytest.raises(StorageDamaged, match="frame 3 was acknowledged"):
        read(tmp_path)


def test_a_missing_log_is_refused(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path, [b"x"], number=number, written=number - 1)
    log_file(tmp_path, 2).unlink()

    with pytest.raises(StorageDamaged, match="1 to 3 are needed"):
        read(tmp_path)


def test_settling_takes_the_torn_end_away(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    (content,) = replayed(tmp_path, 1)

    settle_log(file, content)

    (settled,) = replayed(tmp_path, 1)
    assert settled.dropped == 0
    assert len(settled.frames) == 2


def test_rotation_goes_on_counting_and_old_logs_can_be_forgotten(tmp_path: Path) -> None:
    log = Log(tmp_path, 1, 0, ALWAYS)
    log.append(b"one")
    number = log.rotate()
    second = log.append(b"two")
    log.close()

    assert (number, second) == (2, 2)
    assert read(tmp_path) == [b"one", b"two"]

    header = read_header(log_file(tmp_path, 2))
    log.forget(2)
    assert header is not None
    assert header.durable == 1
    assert log_numbers(tmp_path) == [2]


def test_callers_at_the_same_time_share_an_fsync(tmp_path: Path) -> None:
    """The first caller's fsync is held until all others wait; one more then serves them all."""
    started, go, calls = threading.Event(), threading.Event(), []

    def sync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            started.set()
            assert go.wait(10)
        os.fdatasync(handle)

    log = Log(tmp_path, 1, 0, ALWAYS, sync=sync)
    threads = [threading.Thread(target=log.commit, args=(log.append(b"leader"),))]
    threads[0].start()
    assert started.wait(10)
    numbers = [log.append(b"follower") for _ in range(8)]
    threads += [threading.Thread(target=log.commit, args=(number,)) for number in numbers]
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()

    assert len(calls) == 2
    assert log.durable == 9
    log.close()


def test_a_write_without_room_fails_whole_and_the_next_succeeds_once_there_is_room(tmp_path: Path) -> None:
    log = Log(tmp_path, 1, 0, ALWAYS)
    log.commit(log.append(b"kept"))

    with room_for(log.size + 1000), pytest.raises(StorageFull, match="make some and write again"):
        log.append(bytes(2000))
    log.commit(log.append(b"after"))
    log.close()

    assert read(tmp_path) == [b"kept", b"after"]


def test_after_a_failed_fsync_nothing_is_acknowledged_until_there_is_a_new_file(tmp_path: Path) -> None:
    failing = [True]

    def sync(handle: int) -> None:
        if failing[0]:
            raise OSError(5, "Input/output error")
        os.fdatasync(handle)

    log = Log(tmp_path, 1, 0, ALWAYS, sync=sync)
    first = log.append(b"doubtful")
    with pytest.raises(StorageError, match="may be lost"):
        log.commit(first)
    failing[0] = False
    with pytest.raises(StorageError, match="in doubt"):
        log.append(b"refused")

    log.rotate()
    log.commit(log.append(b"after"))

    with pytest.raises(StorageError, match="may be lost"):
        log.commit(first)
    log.close()


def test_under_interval_a_commit_does_not_wait_and_closing_syncs(tmp_path: Path) -> None:
    synced = threading.Event()

    def sync(handle: int) -> None:
        os.fdatasync(handle)
        synced.set()

    log = Log(tmp_path, 1, 0, DurabilityPolicy(fsync="interval", interval_ms=1), sync=sync)
    log.commit(log.append(b"soon"))

    assert synced.wait(10)
    log.close()
    assert log.durable == 1
