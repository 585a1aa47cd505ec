"""Texts in a folder: found by their words, committed with a note, and never read where they were changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paceline.base.errors import ConfigError, InvalidRequest, StorageDamaged
from paceline.vectors.text_index import MOST_WORDS, TextIndex, check_files

TEXTS = {
    "cat": "a small animal with soft fur that is kept as a pet",
    "dog": "an animal kept as a pet or for hunting",
    "car": "a vehicle with four wheels and an engine",
    "van": "a covered vehicle for carrying goods",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[TextIndex]:
    """Four texts, committed with the note `first`."""
    made = TextIndex(tmp_path / "texts")
    made.add([(("", name), text) for name, text in TEXTS.items()])
    made.commit("first")
    yield made
    made.close()


def found(index: TextIndex, text: str, **options: object) -> list[str]:
    """Ids, best first."""
    return [name for name, _ in index.search(text, 10, **options)]


def test_texts_are_found_by_stems_best_first(index: TextIndex) -> None:
    """More of the words, a shorter text: better; signs are no operators."""
    assert found(index, "hunting pets") == ["dog", "cat"]
    assert found(index, "+VEHICLES -engine!") == ["car", "van"]
    assert found(index, "...") == []


@pytest.mark.parametrize("word", ["हिन्दी", "größe", "猫", "a_b", "AND"])
def test_words_of_all_scripts_are_found(index: TextIndex, word: str) -> None:
    """Queries become words as texts do."""
    index.add([(("", "new"), f"{word} foo")])
    index.commit("second")

    assert "new" in found(index, word)


def test_namespaces_and_choices_keep_others_out(index: TextIndex) -> None:
    """Only the texts of a namespace, or only those named."""
    index.add([(("other", "cat"), "another pet")])
    index.commit("second")

    assert found(index, "pet", namespace="other") == ["cat"]
    assert found(index, "pet", among=[("", "dog"), ("", "car"), ("", "nobody")]) == ["dog"]
    assert found(index, "pet", among=[]) == []


def test_a_commit_holds_texts_and_note_together(index: TextIndex, tmp_path: Path) -> None:
    """What came after it is gone with the process, and the note says so."""
    index.delete([("", "car"), ("", "nobody")])
    index.commit("second")
    index.add([(("", "bus"), "a large vehicle")])
    index.close()

    again = TextIndex(tmp_path / "texts")
    assert again.note == "second"
    assert len(again) == 3
    assert found(again, "vehicle") == ["van"]


def test_an_empty_index_has_no_note(tmp_path: Path) -> None:
    """Nothing was committed."""
    made = TextIndex(tmp_path / "texts")

    assert (made.note, len(made), found(made, "pet")) == ("", 0, [])


def test_more_words_than_are_looked_up_are_refused(index: TextIndex) -> None:
    """A query is no document."""
    with pytest.raises(InvalidRequest, match=f"{MOST_WORDS} at most"):
        index.search("word " * (MOST_WORDS + 1), 10)


@pytest.mark.parametrize("ending", ["idx", "term", "store", "fieldnorm", "fast", "pos", "del"])
def test_a_changed_byte_in_any_file_is_found(index: TextIndex, tmp_path: Path, ending: str) -> None:
    """The library itself would read on."""
    index.delete([("", "cat")])
    index.commit("second")
    index.close()
    check_files(tmp_path / "texts")
    for file in (tmp_path / "texts").glob(f"*.{ending}"):
        whole = file.read_bytes()
        file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])

    with pytest.raises(StorageDamaged, match="made anew"):
        TextIndex(tmp_path / "texts")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"segments": [{"segment_id": "ab", "deletes": null}]}']
)
def test_a_broken_list_of_files_is_found(index: TextIndex, tmp_path: Path, content: bytes) -> None:
    """Cut short, of another kind, or naming files that are not there."""
    index.close()
    (tmp_path / "texts/meta.json").write_bytes(content)

    with pytest.raises(StorageDamaged):
        TextIndex(tmp_path / "texts")


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to install it."""
    monkeypatch.setitem(sys.modules, "tantivy", None)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[hybrid\]'"):
        TextIndex(tmp_path / "texts")
