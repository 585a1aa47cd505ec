"""The texts of a collection hold what its records hold, whatever happens between the two."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import msgspec
import pytest
import xxhash
from collections_of import DIMENSIONS, SMALL, STILL, names, vector, vectors

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.collection import Collection
from paceline.vectors.manifest import NAME
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record
from paceline.vectors.snapshot import restore
from paceline.vectors.text_follower import text_of

SCHEMA = Schema(dimensions=DIMENSIONS, text_field="text")


def made(folder: Path, count: int = 100, how: object = SMALL) -> Collection:
    """Records with the texts `all word0`, `all word1` and so on; after 100 some are in segments, some in the log."""
    collection = Collection.create(folder, SCHEMA, policy=how)
    add(collection, count)
    return collection


def add(collection: Collection, count: int, first: int = 0) -> None:
    """Records of seeds from `first` on."""
    for start in range(first, first + count, 20):
        size = min(20, first + count - start)
        collection.upsert_arrays(
            names(size, start), vectors(size, start), [{"text": f"all word{start + i}"} for i in range(size)]
        )


def found(collection: Collection, text: str = "all") -> set[str]:
    """Ids of all records that have one of the words."""
    return {match.id for match in collection.by_words(text, 10_000)}


def copied(folder: Path, to: Path) -> Path:
    """What the disk holds while the collection is open: as a process leaves it that is killed now."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("lock"))
    return to


def rebuilt(collection: Collection) -> str:
    """Why the texts were made anew; empty if they were not."""
    collection.by_words("all", 1)
    texts = collection.stats().texts
    assert texts is not None
    assert (texts.state, texts.version, texts.pending) == ("ready", collection.version, 0)
    return texts.rebuilt


def test_a_search_finds_every_write_before_it(tmp_path: Path) -> None:
    """New, changed and deleted: at once."""
    with made(tmp_path / "c", 3, STILL) as collection:
        assert found(collection) == {"v0", "v1", "v2"}
        collection.update("v1", metadata={"text": "nothing"})
        collection.delete(["v2"])
        assert found(collection) == {"v0"}
        assert found(collection, "nothing word2") == {"v1"}
        collection.update("v0", metadata={"n": 1})
        collection.update("v0", vector=vector(7))
        assert found(collection) == {"v0"}
        collection.update("v1", metadata={"text": None})
        collection.delete(filter={"n": 1})
        assert found(collection, "all nothing") == set()
        collection.upsert([Record("v1", vector(1), {"text": ["all", "of them"]}, "space")])
        assert [match.id for match in collection.by_words("them", namespace="space")] == ["v1"]
        collection.delete(everything=True, namespace="space")
        assert collection.by_words("them", namespace="space") == []


@pytest.mark.parametrize(
    ("metadata", "text"),
    [(None, ""), ({"text": "a"}, "a"), ({"text": ["a", "b"]}, "a\nb"), ({"text": 1}, ""), ({"n": "a"}, "")],
)
def test_the_text_is_that_of_the_field(metadata: dict[str, object] | None, text: str) -> None:
    """Or the texts of a list; anything else is none."""
    assert text_of(metadata, "text") == text


def test_what_was_committed_is_not_made_again(tmp_path: Path) -> None:
    """After closing, and after many segments were sealed, joined and deleted from."""
    with made(tmp_path / "c") as collection:
        assert rebuilt(collection) == "there was none"
        collection.delete(names(10))
        collection.compact()
    with Collection.open(tmp_path / "c", policy=SMALL) as again:
        assert rebuilt(again) == ""
        assert found(again) == set(names(90, 10))


@pytest.mark.parametrize("is_searched", [False, True])
def test_a_killed_process_leaves_texts_that_are_brought_up_from_the_log(
    tmp_path: Path, is_searched: bool
) -> None:
    """Segments are published only after the texts in them: the log has the rest."""
    with made(tmp_path / "c") as collection:
        collection.by_words("all")  # what there is no index of is made before
        add(collection, 100, 100)
        if is_searched:
            assert found(collection, "word150") == {"v150"}
        collection.settle()
        add(collection, 10, 200)
        collection.delete(names(5))
        copied(tmp_path / "c", tmp_path / "killed")
    with Collection.open(tmp_path / "killed", policy=SMALL) as again:
        assert rebuilt(again) == ""
        assert found(again) == set(names(205, 5))


def test_texts_older_than_the_log_are_made_anew(tmp_path: Path) -> None:
    """Somebody put back an old copy."""
    with made(tmp_path / "c") as collection:
        collection.by_words("all")
    copied(tmp_path / "c/text", tmp_path / "old")
    with Collection.open(tmp_path / "c", policy=SMALL) as collection:
        add(collection, 100, 100)
        collection.delete(names(10))
        collection.compact()
    shutil.rmtree(tmp_path / "c/text")
    shutil.move(tmp_path / "old", tmp_path / "c/text")
    with Collection.open(tmp_path / "c", policy=SMALL) as again:
        assert rebuilt(again).startswith("it held writes up to 5, the log begins after")
        assert found(again) == set(names(190, 10))


def test_texts_that_are_ahead_of_the_records_are_made_anew(tmp_path: Path) -> None:
    """Somebody put back old records."""
    with made(tmp_path / "c", 20) as collection:
        collection.by_words("all")
    copied(tmp_path / "c", tmp_path / "old")
    with Collection.open(tmp_path / "c", policy=SMALL) as collection:
        add(collection, 20, 20)
    shutil.rmtree(tmp_path / "old/text")
    shutil.move(tmp_path / "c/text", tmp_path / "old/text")
    with Collection.open(tmp_path / "old", policy=SMALL) as again:
        assert rebuilt(again).startswith("it held writes up to 2")
        assert found(again) == set(names(20))


@pytest.mark.parametrize("what", ["idx", "meta.json", "store"])
def test_damaged_texts_are_made_anew(tmp_path: Path, what: str) -> None:
    """They can be: the records have them all."""
    with made(tmp_path / "c") as collection:
        collection.by_words("all")
    for file in (tmp_path / "c/text").glob(f"*{what}"):
        whole = file.read_bytes()
        file.write_bytes(whole[:9] + bytes([whole[9] ^ 255]) + whole[10:])
    with Collection.open(tmp_path / "c", policy=SMALL) as again:
        assert "made anew" in rebuilt(again)
        assert found(again) == set(names(100))


def test_an_index_that_fails_is_made_anew_by_the_next_search(tmp_path: Path) -> None:
    """The one that met the failure tells it; so does the collection, until then."""
    with made(tmp_path / "c") as collection:
        collection.by_words("all")
        assert collection._texts is not None
        told = collection._texts.doubt(ValueError("a bad block"))
        add(collection, 20, 100)
        assert collection.stats().troubles == {"texts": told.message}
        assert found(collection) == set(names(120))
        assert "a bad block" in rebuilt(collection)
        assert collection.stats().troubles == {}


def test_a_log_with_a_gap_makes_texts_anew(tmp_path: Path) -> None:
    """The index may hold what the log has lost."""
    with made(tmp_path / "c", 60, STILL) as collection:
        collection.by_words("all")
    log = min((tmp_path / "c/log").glob("*.log"))
    whole = log.read_bytes()
    log.write_bytes(whole[:400] + bytes([whole[400] ^ 255]) + whole[401:])
    with Collection.open(tmp_path / "c", policy=STILL, skip_damaged=True) as again:
        assert again.recovery.skipped_bytes > 0
        assert rebuilt(again) == "the log had lost writes"
        assert found(again) == set(again.fetch(names(60)))


def test_segments_that_come_back_bring_their_texts(tmp_path: Path) -> None:
    """Set aside, the texts go with the records; restored, both are there again."""
    with made(tmp_path / "c") as collection:
        collection.compact()
    shutil.rmtree(tmp_path / "c/text")
    head = next((tmp_path / "c/segments").glob("*/segment.json"))
    whole = head.read_bytes()
    head.write_bytes(b"x" + whole[1:])
    with Collection.open(tmp_path / "c", policy=SMALL) as without:
        assert rebuilt(without) == "there was none"
        assert found(without) == set()
        add(without, 1, 500)
    head.write_bytes(whole)
    with Collection.open(tmp_path / "c", policy=SMALL) as again:
        assert "can be read again" in rebuilt(again)
        assert found(again) == {*names(100), "v500"}


def test_snapshots_make_their_own_texts(tmp_path: Path) -> None:
    """They carry none."""
    with made(tmp_path / "c") as collection:
        collection.snapshot(tmp_path / "s")
        add(collection, 20, 100)
    restore(tmp_path / "s", tmp_path / "restored")
    with Collection.open(tmp_path / "restored", policy=SMALL) as again:
        assert not (tmp_path / "s/text").exists()
        assert found(again) == set(names(100))


def test_without_the_library_all_goes_on_but_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when it is installed, words are found again, those that were written meanwhile too."""
    made(tmp_path / "c").close()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "tantivy", None)
        with Collection.open(tmp_path / "c", policy=SMALL) as without:
            add(without, 100, 100)
            without.delete(names(5))
            assert without.query(vector(150), 1)[0][0].id == "v150"
            with pytest.raises(ConfigError, match=r"pip install 'paceline\[hybrid\]'"):
                without.by_words("all")
            texts = without.stats().texts
            assert texts is not None
            assert texts.state == "missing"
    with Collection.open(tmp_path / "c", policy=SMALL) as again:
        assert found(again) == set(names(195, 5))


def test_a_collection_without_a_text_field_has_no_words(tmp_path: Path) -> None:
    """And says what to do; nor does it keep a folder for them."""
    with Collection.create(tmp_path / "c", Schema(dimensions=DIMENSIONS), policy=STILL) as collection:
        with pytest.raises(InvalidRequest, match="no text_field"):
            collection.by_words("all")
        assert collection.stats().texts is None
        assert not (tmp_path / "c/text").exists()


def test_a_collection_of_the_first_format_opens(tmp_path: Path) -> None:
    """It knew of no text field."""
    Collection.create(tmp_path / "c", Schema(dimensions=DIMENSIONS), policy=STILL).close()
    file = tmp_path / "c" / NAME
    body = msgspec.json.decode(file.read_bytes())["manifest"]
    del body["schema"]["text_field"]
    packed = msgspec.json.encode(body)
    checksum = xxhash.xxh3_128_hexdigest(b"1\n" + packed)
    file.write_bytes(
        msgspec.json.encode({"format": 1, "checksum": checksum, "manifest": msgspec.Raw(packed)})
    )

    with Collection.open(tmp_path / "c", policy=STILL) as again:
        assert again.schema == Schema(dimensions=DIMENSIONS)


def test_a_field_that_no_record_can_have_is_refused() -> None:
    """Such as an operator."""
    with pytest.raises(InvalidRequest, match=r"no field begins with \$"):
        Schema(dimensions=DIMENSIONS, text_field="$text")


def test_closing_does_not_wait_for_texts_to_be_made_anew(tmp_path: Path) -> None:
    """They are made when it is opened next."""
    made(tmp_path / "c", 2000, STILL).close()
    shutil.rmtree(tmp_path / "c/text")
    Collection.open(tmp_path / "c", policy=STILL).close()
    with Collection.open(tmp_path / "c", policy=STILL) as again:
        assert found(again) == set(names(2000))
