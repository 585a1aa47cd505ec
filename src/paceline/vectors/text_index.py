"""Full-text search by BM25 in a folder: `TextIndex`, on tantivy.

Of the libraries kept alive (tantivy 0.27, bm25s 0.3, rank-bm25 0.2) it alone takes additions and deletions without a
rebuild and keeps its index in a folder; it was also the quickest on 117,000 glosses (3.4 ms a query of a whole gloss,
bm25s 11.6 ms). It lets go of Python's lock while it works.

A commit carries a note, which is written in the same step as the texts: so what the index holds is known after a crash.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from paceline.base.errors import ConfigError, InvalidRequest, StorageDamaged
from paceline.vectors.record import Key

MOST_WORDS: Final = 1024
"""In a query."""
_HEAP_BYTES: Final = 32 << 20
_LONGEST_WORD: Final = 40
_NOTE: Final = "note"
"""Key of the document that carries the note; keys of texts have a NUL."""
_FILES: Final = ("idx", "term", "store", "fieldnorm", "fast", "pos")
"""Files of every segment of tantivy's index."""


def tantivy() -> ModuleType:
    """The library. ConfigError if it is not installed."""
    try:
        import tantivy as library  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            "search by words needs tantivy, which is not installed; pip install 'paceline[hybrid]'"
        ) from None
    return library


class TextIndex:
    """Texts by namespace and id. One thread writes; any number search what was committed last.

    Words are runs of letters and digits in lower case, English ones by their stem.
    """

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`, or make one. ConfigError if tantivy is missing, StorageDamaged."""
        self._library = library = tantivy()
        builder = library.SchemaBuilder()
        builder.add_text_field("key", stored=True, tokenizer_name="raw", index_option="basic")
        builder.add_text_field("space", tokenizer_name="raw", index_option="basic")
        builder.add_text_field("text", tokenizer_name="words", index_option="freq")
        builder.add_text_field("note", stored=True, tokenizer_name="raw", index_option="basic")
        self._schema = builder.build()
        self._analyzer = _analyzer(library)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "meta.json").exists():
            check_files(folder)
        try:
            self._index = library.Index(self._schema, str(folder))
            self._index.register_tokenizer("words", self._analyzer)
            self.note = self._read_note()
        except BaseException as error:
            if not is_of_library(error):
                raise
            raise StorageDamaged(f"{folder} cannot be opened ({error}); it is made anew") from error
        self._writer: Any = None

    def add(self, texts: Iterable[tuple[Key, str]]) -> None:
        """Add texts of keys that are not there."""
        writer, document = self._open_writer(), self._library.Document
        for key, text in texts:
            writer.add_document(document(key=_joined(key), space=f"s{key[0]}", text=text))

    def delete(self, keys: Iterable[Key]) -> None:
        """Delete texts; those that are not there are no error."""
        writer = self._open_writer()
        for key in keys:
            writer.delete_documents_by_term("key", _joined(key))

    def commit(self, note: str) -> None:
        """Make what was written findable and safe from a crash, and `note` with it."""
        writer = self._open_writer()
        writer.delete_documents_by_term("key", _NOTE)
        writer.add_document(self._library.Document(key=_NOTE, note=note))
        writer.commit()
        self._index.reload()
        self.note = note

    def search(
        self, text: str, k: int, namespace: str = "", *, among: Sequence[Key] | None = None
    ) -> list[tuple[str, float]]:
        """Ids and scores of the best `k` texts of a namespace that share a word with `text`, best first.

        `among`: only these. InvalidRequest if there are more than MOST_WORDS words.
        """
        words = self._analyzer.analyze(text)
        if len(words) > MOST_WORDS:
            raise InvalidRequest(
                f"text has {len(words)} words; search for {MOST_WORDS} at most, those that matter",
                param="text",
            )
        if not words or (among is not None and not among):
            return []
        library, schema = self._library, self._schema
        must, should = library.Occur.Must, library.Occur.Should
        here = library.Query.term_query(schema, "space", f"s{namespace}")
        if among is not None:
            here = library.Query.term_set_query(schema, "key", [_joined(key) for key in among])
        asked = [(should, library.Query.term_query(schema, "text", word, "freq")) for word in words]
        wanted = library.Query.boolean_query(
            [
                (must, library.Query.const_score_query(here, 0.0)),
                (must, library.Query.boolean_query(asked)),
            ]
        )
        searcher = self._index.searcher()
        hits = searcher.search(wanted, k, count=False).hits
        return [(searcher.doc(place)["key"][0].split("\0", 1)[1], float(score)) for score, place in hits]

    def __len__(self) -> int:
        return int(self._index.searcher().num_docs) - bool(self.note)

    def close(self) -> None:
        """Let others write to the folder; what was not committed is lost."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.wait_merging_threads()

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        return self._writer

    def _read_note(self) -> str:
        searcher = self._index.searcher()
        hits = searcher.search(self._library.Query.term_query(self._schema, "key", _NOTE), 1).hits
        return str(searcher.doc(hits[0][1])["note"][0]) if hits else ""


def check_files(folder: Path) -> None:
    """Read the files of an index against the checksums in their footers. StorageDamaged on the first that was changed.

    The library does not look at them, and may go down on what it then reads.
    """
    try:
        segments = json.loads((folder / "meta.json").read_bytes())["segments"]
        for segment in segments:
            name = segment["segment_id"].replace("-", "")
            for ending in _FILES:
                _check_file(folder / f"{name}.{ending}")
            if segment["deletes"] is not None:
                _check_file(folder / f"{name}.{segment['deletes']['opstamp']}.del")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise StorageDamaged(f"{folder} cannot be read ({error}); it is made anew") from error


def _check_file(file: Path) -> None:
    """A file ends with its footer as JSON, the footer's length and a magic number."""
    content = memoryview(file.read_bytes())
    size, _ = struct.unpack("<II", content[-8:])
    footer = json.loads(bytes(content[-8 - size : -8]))
    if zlib.crc32(content[: -8 - size]) != footer["crc"]:
        raise ValueError(f"{file.name} was changed after it was written")


def _analyzer(library: ModuleType) -> Any:
    filters = library.Filter
    return (
        library.TextAnalyzerBuilder(library.Tokenizer.simple())
        .filter(filters.remove_long(_LONGEST_WORD))
        .filter(filters.lowercase())
        .filter(filters.stemmer("english"))
        .build()
    )


def is_of_library(error: BaseException) -> bool:
    """Whether tantivy raised it: an error, or a panic, which is no Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _joined(key: Key) -> str:
    return "\0".join(key)
