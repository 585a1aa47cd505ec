"""Full-text search by BM25 beside a collection: `TextIndex`, on tantivy.

Of the libraries kept alive (tantivy 0.27, bm25s 0.3, rank-bm25 0.2) it alone takes additions and deletions without a
rebuild and keeps its index in a folder; it was also the quickest on 117,000 glosses (3.4 ms a query of a whole gloss,
bm25s 11.6 ms).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from paceline.base.errors import ConfigError
from paceline.vectors.record import Key

Analyzer = Literal["en_stem", "default", "whitespace"]
"""How texts become words: lower case and English stems, lower case only, or as they are between spaces."""

_WORDS: Final = re.compile(r"\w+")
_HEAP_BYTES: Final = 32 << 20


def _tantivy() -> ModuleType:
    try:
        import tantivy  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            "hybrid search needs tantivy, which is not installed; pip install 'paceline[hybrid]'"
        ) from None
    return tantivy


class TextIndex:
    """Texts by namespace and id; safe for any number of threads. In `folder`, or in memory without one.

    What was written is found at once; it is on the disk after `commit`. ConfigError if tantivy is missing.
    """

    def __init__(self, folder: Path | None = None, analyzer: Analyzer = "en_stem") -> None:
        self._library = library = _tantivy()
        builder = library.SchemaBuilder()
        builder.add_text_field("key", stored=True, tokenizer_name="raw")
        builder.add_text_field("space", tokenizer_name="raw")
        builder.add_text_field("text", tokenizer_name=analyzer)
        self._schema = builder.build()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._index = library.Index(self._schema, None if folder is None else str(folder))
        self._writer: Any = None
        self._is_fresh = False
        self._lock = threading.Lock()  # protects the writer and `_is_fresh`

    def upsert(self, texts: Iterable[tuple[Key, str]]) -> None:
        """Add texts, or replace those of the same key."""
        with self._lock:
            writer = self._open_writer()
            for key, text in texts:
                named = _joined(key)
                writer.delete_documents_by_term("key", named)
                writer.add_document(self._library.Document(key=named, space=f"s{key[0]}", text=text))

    def delete(self, keys: Iterable[Key]) -> None:
        """Delete texts; those that are not there are no error."""
        with self._lock:
            writer = self._open_writer()
            for key in keys:
                writer.delete_documents_by_term("key", _joined(key))

    def clear(self) -> None:
        """Delete all texts."""
        self.commit()  # what is not committed would outlive the deletion
        with self._lock:
            self._open_writer().delete_all_documents()
        self.commit()

    def search(self, text: str, k: int, namespace: str = "") -> list[tuple[str, float]]:
        """Ids and scores of the best `k` texts of a namespace that share a word with `text`, best first."""
        self.commit()
        words = " ".join(_WORDS.findall(text.lower()))  # no operators of the library's query language
        if not words:
            return []
        library = self._library
        must = library.Occur.Must
        here = library.Query.const_score_query(
            library.Query.term_query(self._schema, "space", f"s{namespace}"), 0.0
        )
        asked, _ = self._index.parse_query_lenient(words, ["text"])
        searcher = self._index.searcher()
        hits = searcher.search(library.Query.boolean_query([(must, here), (must, asked)]), k).hits
        return [(searcher.doc(place)["key"][0].split("\0", 1)[1], float(score)) for score, place in hits]

    def __len__(self) -> int:
        self.commit()
        return int(self._index.searcher().num_docs)

    def commit(self) -> None:
        """Make what was written findable, and safe from a crash."""
        with self._lock:
            if self._is_fresh:
                self._writer.commit()
                self._index.reload()
                self._is_fresh = False

    def close(self) -> None:
        """Commit, and let others write to the folder."""
        self.commit()
        with self._lock:
            if self._writer is not None:
                self._writer.wait_merging_threads()
                self._writer = None

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        self._is_fresh = True
        return self._writer


def _joined(key: Sequence[str]) -> str:
    return "\0".join(key)
