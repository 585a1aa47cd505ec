"""A load sends what is missing, again if it must, and never what has arrived."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collections_of import DIMENSIONS, STILL, filled, vector, vectors

from paceline.base.errors import ConfigError, InvalidRequest, Overloaded, PacelineError, Unreachable
from paceline.vectors.bulk import Loaded, LoadPolicy, load
from paceline.vectors.bulk_files import read_records
from paceline.vectors.record import Record

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """asyncio's task groups are used."""
    return "asyncio"


def lines(file: Path, count: int) -> Path:
    """A file of records with the vectors of seeds from 0 on."""
    rows = ({"id": f"v{i}", "values": vector(i).tolist(), "metadata": {"n": i}} for i in range(count))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


class Taker:
    """Takes batches, except those with an id it was told to refuse, so many times."""

    def __init__(self, refused: dict[str, int] | None = None, error: Exception | None = None) -> None:
        self.taken: list[str] = []
        self.tries = 0
        self.most_at_once = 0
        self._at_once = 0
        self._refused = dict(refused or {})
        self._error = error or Unreachable("the server went away")

    async def __call__(self, batch: Sequence[Record]) -> None:
        self.tries += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(0)
        self._at_once -= 1
        if self._refused.get(batch[0].id, 0) > 0:
            self._refused[batch[0].id] -= 1
            raise self._error
        self.taken += [record.id for record in batch]


async def test_all_records_arrive_in_batches_some_at_once(tmp_path: Path) -> None:
    """Of 100, four on their way; nothing is left beside the file."""
    taker, told = Taker(), []

    done = await load(lines(tmp_path / "a.jsonl", 1050), taker, progress=told.append)

    assert done == Loaded(1050, 0, {})
    assert sorted(taker.taken) == sorted(f"v{i}" for i in range(1050))
    assert taker.tries == 11
    assert taker.most_at_once == 4
    assert told[-1] == done
    assert not (tmp_path / "a.jsonl.journal").exists()


async def test_a_batch_is_tried_three_times_with_waits_that_double(tmp_path: Path) -> None:
    """Full jitter below half a second, then one; what the server asks for comes on top."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    taker = Taker({"v0": 2})
    done = await load(lines(tmp_path / "a.jsonl", 100), taker, sleep=sleep, rng=lambda: 1.0)
    assert done.is_complete
    assert taker.tries == 3
    assert waits == [0.5, 1.0]

    waits.clear()
    asking = Taker({"v0": 1}, Overloaded("full", retry_after_s=3.0))
    await load(lines(tmp_path / "a.jsonl", 100), asking, sleep=sleep, rng=lambda: 0.0)
    assert waits == [3.0]


async def test_what_failed_is_sent_by_the_next_load_and_nothing_else(tmp_path: Path) -> None:
    """A batch given up is named; the journal knows the rest."""
    file, taker = (
        lines(tmp_path / "a.jsonl", 1000),
        Taker({"v300": 3, "v700": 1}, InvalidRequest("not like this")),
    )
    first = await load(file, taker)

    assert first.failed == {3: "not like this", 7: "not like this"}
    assert first.records == 800
    assert (tmp_path / "a.jsonl.journal").exists()

    again = Taker()
    second = await load(file, again)
    assert second == Loaded(200, 800, {})
    assert again.taken == [f"v{i}" for i in [*range(300, 400), *range(700, 800)]]
    assert not (tmp_path / "a.jsonl.journal").exists()


async def test_an_interrupted_load_goes_on(tmp_path: Path) -> None:
    """Whatever ended it; a torn last line of the journal is sent again."""
    file, journal = lines(tmp_path / "a.jsonl", 1000), tmp_path / "kept"
    loading: asyncio.Task[Loaded]

    def stop(done: Loaded) -> None:
        if done.records == 500:
            loading.cancel()

    loading = asyncio.create_task(
        load(file, Taker(), journal=journal, policy=LoadPolicy(at_once=1), progress=stop)
    )
    with pytest.raises(asyncio.CancelledError):
        await loading
    with journal.open("ab") as out:
        out.write(b"9")

    taker = Taker()
    done = await load(file, taker, journal=journal)
    assert done == Loaded(500, 500, {})
    assert sorted(taker.taken) == sorted(f"v{i}" for i in range(500, 1000))


async def test_a_server_that_takes_nothing_ends_the_load(tmp_path: Path) -> None:
    """After twenty batches, not after all."""
    taker = Taker({f"v{i}": 99 for i in range(10_000)}, InvalidRequest("wrong dimensions"))

    with pytest.raises(PacelineError, match=r"20 batches failed, the last with: wrong dimensions"):
        await load(lines(tmp_path / "a.jsonl", 1000), taker, policy=LoadPolicy(batch=10))

    assert taker.tries < 30


async def test_a_journal_of_another_file_is_refused(tmp_path: Path) -> None:
    """It would skip what never arrived."""
    file = lines(tmp_path / "a.jsonl", 200)
    await load(file, Taker({"v0": 9}, InvalidRequest("no")))
    lines(file, 300)

    with pytest.raises(ConfigError, match=r"a.jsonl.journal is the journal of .*delete it"):
        await load(file, Taker())


async def test_a_collection_is_filled_through_it(tmp_path: Path) -> None:
    """Vectors and metadata as they were in the file."""
    with filled(tmp_path / "c", 0, STILL) as collection:

        async def upsert(batch: Sequence[Record]) -> None:
            await asyncio.to_thread(collection.upsert, batch)

        await load(lines(tmp_path / "a.jsonl", 250), upsert, namespace="mine")

        found = collection.query(vector(123), 1, namespace="mine", include_metadata=True)[0][0]
        assert (found.id, found.metadata) == ("v123", {"n": 123})
        assert collection.stats().records == 250


# -- files ----------------------------------------------------------------------------------------------------


def test_arrays_are_read_with_ids_beside_them(tmp_path: Path) -> None:
    """Or by row number."""
    np.save(tmp_path / "a.npy", vectors(3))
    assert [record.id for record in read_records(tmp_path / "a.npy", "space", 1)] == ["1", "2"]

    (tmp_path / "a.ids").write_text("x\ny\nz\n")
    records = list(read_records(tmp_path / "a.npy", "space"))
    assert [(record.id, record.namespace) for record in records] == [
        ("x", "space"),
        ("y", "space"),
        ("z", "space"),
    ]
    assert (records[2].vector == vector(2)).all()

    (tmp_path / "a.ids").write_text("x\n")
    with pytest.raises(InvalidRequest, match="names 1 vectors"):
        list(read_records(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.arange(3))
    with pytest.raises(InvalidRequest, match=r"int64 of shape \(3,\)"):
        list(read_records(tmp_path / "b.npy"))


def test_tables_are_read_with_their_columns_as_metadata(tmp_path: Path) -> None:
    """From any row on; null is no value; metadata may be JSON text."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    count = 2500
    table = pyarrow.table(
        {
            "id": [f"v{i}" for i in range(count)],
            "vector": pyarrow.array(list(vectors(count)), pyarrow.list_(pyarrow.float32())),
            "genre": ["drama" if i % 2 else None for i in range(count)],
            "metadata": [json.dumps({"n": i}) for i in range(count)],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")

    records = list(read_records(tmp_path / "a.parquet", first=2100))

    assert len(records) == 400
    assert records[0].id == "v2100"
    assert records[0].metadata == {"n": 2100}
    assert records[1].metadata == {"n": 2101, "genre": "drama"}
    assert np.allclose(records[0].vector, vector(2100))
    assert records[0].vector.shape == (DIMENSIONS,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.jsonl:2 is no JSON"),
        ("", "a.jsonl:2 is empty"),
        ("[1]", "a.jsonl:2 is no object"),
        ('{"id": "a"}', "a.jsonl:2 has id; a record has id and vector"),
        ('{"id": "a", "vector": [1], "values": [1]}', "a.jsonl:2 has id, vector, values"),
        ('{"id": "a", "vector": ["x"]}', "a.jsonl:2 has a vector that is no list of numbers"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    """By its number."""
    file = lines(tmp_path / "a.jsonl", 1)
    file.write_text(file.read_text() + text + "\n")

    with pytest.raises(InvalidRequest) as caught:
        list(read_records(file))

    assert message in caught.value.message


def test_numbers_as_ids_become_texts(tmp_path: Path) -> None:
    """What is stored has names."""
    (tmp_path / "a.jsonl").write_text('{"id": 7, "vector": [1, 2], "namespace": "n"}\n')

    (record,) = read_records(tmp_path / "a.jsonl", "other")
    assert (record.id, record.namespace) == ("7", "n")


@pytest.mark.parametrize(("name", "message"), [("a.csv", "none of .jsonl"), ("a.npy", "is no file")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=message):
        read_records(tmp_path / name)


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to install it."""
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[parquet\]'"):
        list(read_records(tmp_path / "a.parquet"))


def test_counts_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    """A batch of none would never end."""
    policy: Any = LoadPolicy(batch=0)
    with pytest.raises(ConfigError, match="both are 1 or more"):
        asyncio.run(load(lines(tmp_path / "a.jsonl", 1), Taker(), policy=policy))


async def test_a_load_of_which_nothing_arrived_leaves_no_journal(tmp_path: Path) -> None:
    """There is nothing to go on from, so that the file may go anywhere next."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "a", "text": "no vector"}\n')
    with pytest.raises(InvalidRequest, match="say --text-field"):
        await load(file, Taker())
    assert not (tmp_path / "a.jsonl.journal").exists()
