"""The disk tier: shared by processes, survives their death, never an error."""

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paceline.flow.cache.health import TierHealth
from paceline.flow.cache.l2 import DiskCache

MIB = 1 << 20
Open = Callable[..., DiskCache]


@pytest.fixture
def open_tier(tmp_path: Path) -> Iterator[Open]:
    """Opens tiers in a folder of the test and closes them after it."""
    opened: list[DiskCache] = []

    def open_(folder: Path = tmp_path / "tier", max_bytes: int = 8 * MIB, **more: object) -> DiskCache:
        opened.append(DiskCache(folder, max_bytes, **more))
        return opened[-1]

    yield open_
    for tier in opened:
        tier.close()


def child(script: str, folder: Path, *words: str) -> subprocess.Popen[str]:
    """A Python process with `tier` open on `folder`; it says what the script prints."""
    head = (
        "import os, sys, signal, struct\nfrom pathlib import Path\n"
        "from paceline.flow.cache.l2 import DiskCache\n"
        "tier = DiskCache(Path(sys.argv[1]), int(sys.argv[2]))\n"
        "say = lambda *words: print(*words, flush=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + script, str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def key(number: int) -> bytes:
    return struct.pack("<QQ", number, number)


def test_returns_what_was_flushed(open_tier: Open) -> None:
    tier = open_tier()
    tier.put(b"k", b"value")

    assert tier.flush()
    assert tier.get(b"k") == b"value"
    assert tier.get(b"other") is None
    assert tier.health() == TierHealth("ok")
    assert tier.stats()["entries"] == 1


def test_is_kept_over_a_restart(open_tier: Open) -> None:
    first = open_tier()
    first.put(b"k", b"value")
    first.close()

    assert first.get(b"k") is None
    assert first.health() == TierHealth("off", "closed")
    assert open_tier().get(b"k") == b"value"


def test_stays_within_its_bytes_and_keeps_the_newest(open_tier: Open, tmp_path: Path) -> None:
    tier = open_tier(max_bytes=MIB)
    for number in range(3000):
        tier.put(key(number), bytes(1552))
        assert number % 100 or tier.flush()
    assert tier.flush()

    assert tier.stats()["rotations_total"] >= 6
    assert tier.stats()["bytes"] <= MIB
    assert sum(file.stat().st_size for file in (tmp_path / "tier").glob("*.lmdb")) <= MIB
    assert len(list((tmp_path / "tier").glob("*.lmdb"))) == 2
    assert tier.get(key(0)) is None
    assert all(tier.get(key(number)) == bytes(1552) for number in range(2950, 3000))


def test_what_is_asked_for_outlives_rotations(open_tier: Open) -> None:
    tier = open_tier(max_bytes=MIB)
    tier.put(b"wanted", b"value")
    for number in range(3000):
        tier.put(key(number), bytes(1552))
        if number % 50 == 0:
            tier.flush()
            assert tier.get(b"wanted") == b"value"

    assert tier.stats()["rotations_total"] >= 6


def test_what_cannot_be_kept_is_skipped(open_tier: Open) -> None:
    tier = open_tier(max_bytes=MIB)
    tier.put(b"large", bytes(MIB // 4))
    tier.put(b"", b"no key")
    tier.put(bytes(600), b"long key")

    assert tier.flush()
    assert tier.get(b"large") is tier.get(b"") is tier.get(bytes(600)) is None
    assert tier.stats()["skipped_total"] == 3
    assert tier.health() == TierHealth("ok")


def test_two_processes_share_it_through_rotations(open_tier: Open, tmp_path: Path) -> None:
    """Both write 4 files' worth at the same time; each sees the last of the other."""
    tier = open_tier(max_bytes=MIB)
    script = (
        "for number in range(1000, 2500):\n"
        "    tier.put(struct.pack('<QQ', number, number), bytes(1552))\n"
        "    if number % 20 == 0: tier.flush()\n"
        "assert tier.flush()\n"
        "say('written')\n"
        "sys.stdin.readline()\n"
        "say(tier.get(b'from the parent'), tier.health().state, int(tier.stats()['errors_total']))\n"
    )
    with child(script, tmp_path / "tier", str(MIB)) as other:
        for number in range(10_000, 11_500):
            tier.put(key(number), bytes(1552))
            if number % 20 == 0:
                tier.flush()
        assert other.stdout is not None
        assert other.stdout.readline() == "written\n"
        tier.put(b"from the parent", b"hello")
        assert tier.flush()
        seen = [tier.get(key(number)) is not None for number in range(2480, 2500)]
        out, _ = other.communicate("go\n")

    assert out == "b'hello' ok 0\n"
    assert seen == [True] * 20
    assert tier.stats()["errors_total"] == 0


def test_a_reader_follows_the_rotations_of_others(open_tier: Open, tmp_path: Path) -> None:
    tier = open_tier(max_bytes=MIB)
    script = "for number in range(1500): tier.put(struct.pack('<QQ', number, number), bytes(1552))\nsay(tier.flush())\n"
    with child(script, tmp_path / "tier", str(MIB)) as other:
        assert other.communicate()[0] == "True\n"
    tier.put(b"k", b"v")  # wakes the thread that follows
    tier.flush()

    assert tier.get(key(1499)) == bytes(1552)


def test_a_killed_process_loses_nothing_it_flushed(open_tier: Open, tmp_path: Path) -> None:
    script = (
        "for number in range(2000):\n"
        "    tier.put(struct.pack('<QQ', number, number), struct.pack('<Q', number) * 50)\n"
        "    if number % 97 == 0 and tier.flush(): say(number)\n"
        "    if number == 1500: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with child(script, tmp_path / "tier", str(8 * MIB)) as other:
        acknowledged = int(other.communicate()[0].split()[-1])
    tier = open_tier()

    assert other.returncode == -9
    assert acknowledged > 1400
    assert all(tier.get(key(number)) == struct.pack("<Q", number) * 50 for number in range(acknowledged + 1))


def test_a_foreign_folder_turns_it_off(open_tier: Open, tmp_path: Path) -> None:
    (tmp_path / "tier").mkdir()
    (tmp_path / "tier" / "thesis.tex").write_text("precious")
    tier = open_tier()
    tier.put(b"k", b"v")

    assert tier.health() == TierHealth(
        "off", f"{tmp_path}/tier holds thesis.tex, which is not ours; name another folder"
    )
    assert not tier.flush()
    assert tier.get(b"k") is None
    assert [file.name for file in (tmp_path / "tier").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("offset", "patch", "reason"),
    [
        (0, b"SOMEBODY", "format"),
        (8, b"\x07", "written in format 7, this is format 1"),
        (72, b"more", "76 bytes, not 72"),
    ],
)
def test_another_format_turns_it_off(
    open_tier: Open, tmp_path: Path, offset: int, patch: bytes, reason: str
) -> None:
    open_tier().close()
    with (tmp_path / "tier" / "cache.state").open("r+b") as state:
        state.seek(offset)
        state.write(patch)
    health = open_tier().health()

    assert health.state == "off"
    assert reason in health.reason
    assert "empty the folder" in health.reason


@pytest.mark.parametrize("damage", ["noise", "short"])
def test_a_damaged_file_turns_it_off(open_tier: Open, tmp_path: Path, damage: str) -> None:
    first = open_tier()
    for number in range(500):
        first.put(key(number), bytes(1552))
    first.close()
    file = tmp_path / "tier" / "cache-1.lmdb"
    if damage == "noise":
        file.write_bytes(random.Random(1).randbytes(file.stat().st_size))
    else:
        os.truncate(file, 64 << 10)
    tier = open_tier()
    tier.put(b"k", b"v")

    assert tier.health().state == "off"
    assert str(file) in tier.health().reason
    assert tier.get(key(1)) is None


def test_a_folder_that_cannot_be_made_turns_it_off(open_tier: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert open_tier(tmp_path / "file" / "tier").health().state == "off"


def test_a_second_opening_in_one_process_turns_that_one_off(open_tier: Open) -> None:
    first, second = open_tier(), open_tier()
    first.put(b"k", b"v")
    first.flush()

    assert second.health().state == "off"
    assert "already open" in second.health().reason
    assert first.get(b"k") == b"v"


def test_a_full_disk_pauses_writing(tmp_path: Path) -> None:
    """The limit on file size stands for the full disk; reading goes on, and so does writing when there is room."""
    script = (
        "import resource\n"
        "from paceline.flow.cache import l2\n"
        "now = [0.0]\n"
        "tier.close()\n"
        "tier = DiskCache(Path(sys.argv[1]), int(sys.argv[2]), clock=lambda: now[0])\n"
        "tier.put(b'early', b'value'); assert tier.flush()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "for number in range(300): tier.put(b'%d' % number, bytes(1552))\n"
        "say(tier.flush(), tier.health().state)\n"
        "say(tier.get(b'early'))\n"
        "tier.put(b'now', b'not written')\n"
        "say(int(tier.stats()['skipped_total']))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "now[0] = 31.0\n"
        "tier.put(b'late', b'value')\n"
        "say(tier.flush(), tier.get(b'late'), tier.health().state)\n"
    )
    with child(script, tmp_path / "tier", str(8 * MIB)) as process:
        lines = process.communicate()[0].splitlines()

    assert lines == ["False failing", "b'value'", "1", "True b'value' ok"]


def test_a_forked_child_gets_nothing_and_breaks_nothing(open_tier: Open) -> None:
    tier = open_tier()
    tier.put(b"k", b"value")
    tier.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        tier.put(b"k", b"from the child")
        tier.close()
        os.write(writing, f"{tier.get(b'k')} {tier.health().state}".encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(reading, 100) == b"None off"
    assert tier.get(b"k") == b"value"
    os.close(reading)
    os.close(writing)


def test_begins_anew_when_the_host_went_down_with_the_tier_open(open_tier: Open, tmp_path: Path) -> None:
    """What was not synced may be half there. A state of another boot, not closed in order, is what such a host leaves."""
    first = open_tier()
    first.put(b"k", b"value")
    first.close()
    state = tmp_path / "tier" / "cache.state"

    def another_boot(clean: int) -> None:
        with state.open("r+b") as file:
            file.seek(24)
            file.write(struct.pack("<Q", clean) + b"another boot".ljust(40, b"\0"))

    another_boot(clean=1)
    second = open_tier()
    assert second.get(b"k") == b"value"
    second.close()
    another_boot(clean=0)
    third = open_tier()

    assert third.health() == TierHealth("ok")
    assert third.get(b"k") is None
