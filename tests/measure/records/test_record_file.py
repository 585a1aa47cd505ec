"""What was appended is read, whatever happened to the writers and to the end of the file."""

import os
import signal
import subprocess
import sys
from array import array
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.plan import OpenLoop, Plan, Stage, Target
from paceline.measure.records.record import COLUMNS, Columns, Header, Second, ServerSample, WorkerEnd
from paceline.measure.records.record_file import MAGIC, STRETCHES, RecordWriter, create, read
from paceline.measure.report import Host


def header(duration_s=10.0):
    return Header(
        run_id="r1",
        made_at="2026-01-02T03:04:05Z",
        paceline="0.1.0",
        host=Host("f", "h", "c", 2, 1, "s", "p"),
        plan=Plan(Target("http://localhost/"), OpenLoop((Stage(duration_s, 100.0),))),
        scheduled=1000,
        duration_s=duration_s,
        stage_names=["steady"],
        stage_ends_s=[duration_s],
        levels=[100.0],
    )


def row(index, at=0, **known):
    values = {name: known.get(name, 0) for name, _ in COLUMNS} | {"index": index, "intended_ns": at}
    return tuple(values.values())


def end(worker=0):
    return WorkerEnd(worker, 12.5, 10.0, 4, "kernel", "complete", "the schedule ended", {5: 3, 4000: 1}, 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.plr"


@pytest.fixture
def fd(path):
    fd = create(path, header())
    yield fd
    os.close(fd)


def test_everything_written_is_read(path, fd):
    writer = RecordWriter(fd)
    writer.rows([row(1, 20, status=200, last_ns=30), row(0, 10, status=-1, failure=5, first_ns=-1)])
    writer.tokens([(1, array("q", [21_000, 25_000, 25_000, 30_000])), (0, [11_000])])
    writer.server(ServerSample(1.0, "process 1", cpu_percent=50.0))
    writer.end(end())

    run = read(path)

    assert run.header == header()
    assert run.columns == Columns.of(
        [row(0, 10, status=-1, failure=5, first_ns=-1), row(1, 20, status=200, last_ns=30)]
    )
    assert (run.tokens.index, run.tokens.start) == (array("I", [0, 1]), array("q", [0, 1, 5]))
    assert run.tokens.times_ns == array("q", [11_000, 21_000, 25_000, 25_000, 30_000])
    assert run.server == [ServerSample(1.0, "process 1", cpu_percent=50.0)]
    assert run.ends == [end()]
    assert (run.seconds, run.torn) == ([], None)


def test_a_header_alone_is_a_run_without_requests(path, fd):
    run = read(path)

    assert (len(run.columns), len(run.tokens), run.ends, run.torn) == (0, 0, [], None)


def test_nothing_to_append_appends_nothing(path, fd):
    size = path.stat().st_size
    writer = RecordWriter(fd)
    writer.rows([])
    writer.tokens([(1, [])])
    writer.seconds([])

    assert path.stat().st_size == size


streams = st.lists(
    st.lists(st.integers(0, 10**13), min_size=1, max_size=20).map(sorted), min_size=1, max_size=5
)


@given(streams)
def test_token_times_are_true_to_half_a_microsecond(tmp_path_factory, streams):
    path = tmp_path_factory.mktemp("records") / "run.plr"
    fd = create(path, header())
    RecordWriter(fd).tokens(list(enumerate(streams)))
    os.close(fd)

    tokens = read(path).tokens

    for number, times in enumerate(streams):
        found = tokens.times_ns[tokens.start[number] : tokens.start[number + 1]]
        assert len(found) == len(times)
        # A pause above 71 minutes does not fit its four bytes.
        if all(later - earlier < 4e12 for earlier, later in pairwise(times)):
            assert [abs(a - b) <= 500 for a, b in zip(found, times, strict=True)] == [True] * len(times)


def test_numbers_too_large_for_their_column_are_the_largest_that_fit(path, fd):
    RecordWriter(fd).rows([row(0, completion_tokens=10**30, prompt_tokens=-(10**30), tier=300, status=200)])

    columns = read(path).columns
    assert (columns.completion_tokens[0], columns.prompt_tokens[0], columns.tier[0], columns.status[0]) == (
        2**31 - 1,
        -(2**31),
        255,
        200,
    )


class TestSeconds:
    def test_workers_counts_of_a_second_are_one(self, path, fd):
        RecordWriter(fd, 0).seconds([Second(1, 0, sent=1, latency={9: 1}), Second(0, 0, sent=5)])
        RecordWriter(fd, 1).seconds([Second(1, 0, sent=2, latency={9: 1, 8: 1}), Second(1, 1, sent=7)])

        assert read(path).seconds == [
            Second(0, 0, sent=5),
            Second(1, 0, sent=3, latency={9: 2, 8: 1}),
            Second(1, 1, sent=7),
        ]

    def test_a_run_of_hours_is_read_in_longer_stretches(self, path):
        fd = create(path, header(duration_s=3.5 * STRETCHES))
        RecordWriter(fd).seconds([Second(at, 0, sent=1) for at in range(int(3.5 * STRETCHES))])
        os.close(fd)

        seconds = read(path).seconds
        assert (seconds[0], seconds[1].at_s) == (Second(0, 0, sent=4, span_s=4), 4)
        assert (sum(second.sent for second in seconds), len(seconds) <= STRETCHES) == (3.5 * STRETCHES, True)


class TestDamage:
    """A file that nobody finished, or that a disk has altered."""

    @pytest.fixture
    def blocks(self, path):
        """Where each of three blocks of one row ends."""
        fd = create(path, header())
        ends = [path.stat().st_size]
        for index in range(3):
            RecordWriter(fd).rows([row(index, index)])
            ends.append(path.stat().st_size)
        os.close(fd)
        return ends

    def test_a_file_cut_anywhere_gives_the_whole_blocks_before_the_cut(self, path, blocks):
        whole = path.read_bytes()
        for size in range(blocks[0], len(whole)):
            path.write_bytes(whole[:size])
            run = read(path)
            complete = sum(size >= end for end in blocks[1:])
            left = size - blocks[complete]

            assert list(run.columns.index) == list(range(complete))
            assert run.torn == (
                f"{left} bytes at the end of the records could not be read: cut short or damaged"
                if left
                else None
            )

    def test_a_bit_flipped_anywhere_in_the_last_block_loses_that_block_only(self, path, blocks):
        whole = path.read_bytes()
        for at in range(blocks[2], blocks[3]):
            for bit in (1, 128):
                path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
                run = read(path)

                assert list(run.columns.index) == [0, 1]
                assert run.torn == (
                    f"{blocks[3] - blocks[2]} bytes at the end of the records could not be read: cut short or damaged"
                )

    def test_a_block_damaged_in_the_middle_is_stepped_over(self, path, blocks):
        content = bytearray(path.read_bytes())
        content[blocks[1] + 30] ^= 1
        path.write_bytes(content)
        run = read(path)

        assert list(run.columns.index) == [0, 2]
        assert "in the middle of the records could not be read" in run.torn

    def test_a_block_begun_and_then_written_again_is_read_once(self, path, blocks):
        content = path.read_bytes()
        last = content[blocks[2] :]
        path.write_bytes(content[: blocks[2]] + last[:20] + last)

        assert list(read(path).columns.index) == [0, 1, 2]

    def test_the_magic_inside_of_damage_misleads_nobody(self, path, blocks):
        content = path.read_bytes()
        path.write_bytes(content[: blocks[1]] + MAGIC * 9 + content[blocks[1] :] + MAGIC + b"\xff" * 40)
        run = read(path)

        assert list(run.columns.index) == [0, 1, 2]
        assert "in 2 places" in run.torn


class TestForeignFiles:
    """Each is refused in one line that says what to do."""

    def refusal(self, path):
        with pytest.raises(ConfigError) as refused:
            read(path)
        return refused.value.message

    def test_no_file(self, path):
        assert self.refusal(path) == f"records file {path} cannot be read: No such file or directory"

    def test_a_folder(self, tmp_path):
        assert self.refusal(tmp_path) == f"records file {tmp_path} cannot be read: Is a directory"

    def test_an_empty_file(self, path):
        path.touch()

        assert (
            self.refusal(path) == f"records file {path} is empty: the run ended before it began; run it again"
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"hello\n",
            b"\x00" * 5000,
            b"{}",
            b"{}\n",
            b'{"schema": 5}\n',
            b'{"schema": "k6/1"}\n',
            b"{not json\n",
            b"\n",
        ],
    )
    def test_something_else(self, path, content):
        path.write_bytes(content)

        assert self.refusal(path) == (
            f"{path} is no records file: its first line is not a header of paceline.records/1; "
            "`paceline measure --records FILE` writes one"
        )

    def test_a_newer_schema(self, path):
        made = msgspec.structs.replace(header(), schema="paceline.records/2")
        path.write_bytes(msgspec.json.encode(made) + b"\n")

        assert self.refusal(path) == (
            f"records file {path} has schema paceline.records/2 and this Paceline reads paceline.records/1; "
            "use the newer Paceline that wrote it"
        )

    def test_a_damaged_header(self, path):
        path.write_bytes(b'{"schema":"paceline.records/1","run_id":7}\n')

        assert self.refusal(path).startswith(f"records file {path} has a damaged header: ")


def test_an_existing_file_is_not_overwritten(path, fd):
    with pytest.raises(ConfigError, match="exists already"):
        create(path, header())

    assert read(path).header == header()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"file/run\.plr cannot be made: "):
        create(tmp_path / "file" / "run.plr", header())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_in_one_line():
    fd = os.open("/dev/full", os.O_WRONLY)

    with pytest.raises(ConfigError) as refused:
        RecordWriter(fd).rows([row(0)])

    os.close(fd)
    assert refused.value.message == (
        "records cannot be written: No space left on device; free some space or choose another place for the records"
    )


CHILD = """
import os, sys
from paceline.measure.records.record_file import RecordWriter
writer = RecordWriter(int(sys.argv[1]), int(sys.argv[2]))
index = int(sys.argv[2])
while True:
    writer.rows([(i, 0, i, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0) for i in range(index, index + 2000, 2)])
    os.write(1, b"x")
    index += 2000
"""


def test_a_killed_writer_loses_nothing_that_it_had_written(path, fd):
    """Two processes append to one file; both are killed in the middle of it."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(fd), str(worker)], pass_fds=[fd], stdout=subprocess.PIPE
        )
        for worker in (0, 1)
    ]
    said = []
    for process in writers:
        process.stdout.read(50)
    for process in writers:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        said.append(50 + len(process.stdout.read()))
        process.stdout.close()

    run = read(path)
    for worker, blocks in enumerate(said):
        mine = [index for index in run.columns.index if index % 2 == worker]
        assert mine == list(range(worker, worker + 2 * len(mine), 2))
        assert len(mine) >= 1000 * blocks
    assert len(run.columns) % 1000 == 0


def test_a_file_that_may_not_grow_keeps_what_was_whole(path, fd):
    """A write cut short by a limit is an error, and what is left of it does no harm."""
    size = path.stat().st_size
    RecordWriter(fd).rows([row(0)])
    block = path.stat().st_size - size
    limit = path.stat().st_size + block // 2
    code = (
        "import resource, signal, sys; from paceline.measure.records.record_file import RecordWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"RecordWriter({fd}).rows([{row(1)}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], pass_fds=[fd], capture_output=True, text=True, check=False
    )

    run = read(path)
    assert "records cannot be written: File too large; free some space" in done.stderr
    assert list(run.columns.index) == [0]
    assert run.torn is not None
