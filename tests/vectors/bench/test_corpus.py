"""Vectors, queries and their truth."""

import numpy as np
import orjson
import pytest
from clustered import clustered
from small_corpus import small_corpus

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.bench.corpus import Corpus, held_out, read_vectors


def test_the_truth_is_what_brute_force_finds():
    corpus = small_corpus()
    scores = corpus.queries @ corpus.vectors.T

    assert np.linalg.norm(corpus.vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.take_along_axis(scores, corpus.truth[:, :1], 1).ravel().tolist() == scores.max(axis=1).tolist()


def test_what_is_written_is_opened_again(tmp_path):
    corpus = small_corpus()
    corpus.write(tmp_path)
    corpus.write(tmp_path)  # the same again is no harm

    again = Corpus.open(tmp_path)

    assert (again.shape, again.truth.tolist()) == (corpus.shape, corpus.truth.tolist())


def test_the_truth_of_a_kept_folder_is_used_for_the_same_vectors_only(tmp_path):
    corpus = small_corpus()
    corpus.write(tmp_path)
    np.save(tmp_path / "truth.npy", corpus.truth[:, ::-1])

    def made(count):
        drawn = clustered(count), clustered(40, seed=2)
        return Corpus.of("mixture", *drawn, queries_from="of the same", k=10, seed=3, kept=tmp_path)

    assert made(1_200).truth.tolist() == corpus.truth[:, ::-1].tolist()
    assert made(1_100).truth.tolist() == small_corpus(1_100).truth.tolist()


def test_a_folder_of_other_vectors_is_refused(tmp_path):
    small_corpus(1_200).write(tmp_path)

    with pytest.raises(ConfigError, match="holds indexes of 1,200 vectors of mixture, not of these"):
        small_corpus(1_300).write(tmp_path)


@pytest.mark.parametrize(
    ("vectors", "queries", "told"),
    [
        (clustered(10), clustered(2), "10 vectors; give 1,000 or more"),
        (clustered(1_000), clustered(2, 12), r"queries have shape \(2, 12\), vectors \(1000, 48\)"),
        (clustered(1_000), clustered(1)[:0], "queries have shape"),
    ],
)
def test_too_little_is_refused(vectors, queries, told):
    with pytest.raises(InvalidRequest, match=told):
        Corpus.of("mine", vectors, queries, queries_from="", k=10, seed=1)


def test_held_out_queries_are_no_longer_among_the_vectors():
    vectors = np.arange(2_000, dtype=np.float32)[:, None]

    left, queries = held_out(vectors, 500, seed=1)

    assert (len(left), len(queries)) == (1_800, 200)  # a tenth at most
    assert sorted([*left.ravel(), *queries.ravel()]) == list(range(2_000))


def test_vectors_are_read_of_arrays_and_lines(tmp_path):
    np.save(tmp_path / "a.npy", clustered(3).astype(np.float16))
    lines = [orjson.dumps({"id": str(i), "vector": [i, 1.5]}) for i in range(3)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))

    assert read_vectors(tmp_path / "a.npy").dtype == np.float32
    assert read_vectors(tmp_path / "a.jsonl").tolist() == [[0, 1.5], [1, 1.5], [2, 1.5]]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b"", "holds no record"),
        (
            "a.jsonl",
            b'{"id": 1, "vector": [1]}\n{"id": 2, "vector": [1, 2]}',
            "record 2 has a vector of shape",
        ),
        ("a.npy", b"no array", "is no array of numpy"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InvalidRequest, match=told):
        read_vectors(tmp_path / name)


def test_an_array_of_another_shape_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(5, np.float32))

    with pytest.raises(InvalidRequest, match=r"shape \(5,\); save numbers of shape"):
        read_vectors(tmp_path / "a.npy")
