"""Queries of a collection: one a row of a `.npy` file, moved a little for each run that may share no cached answer."""

from __future__ import annotations

import base64
import io

import msgspec
import numpy as np
import pytest

from paceline.base.errors import ConfigError
from paceline.measure.load.bodies import bodies, prefixed
from paceline.measure.load.vector_query import MOST_ROWS, MOVED, TOP_K
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target

ROWS = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)


def asked(content, tmp_path):
    """The bodies of a plan whose file holds `content`."""
    file = tmp_path / "queries.npy"
    file.write_bytes(content)
    payload = Payload("vectors", body_file=str(file))
    return bodies(Plan(Target("http://h"), OpenLoop((Stage(1, 1),)), payload), None)


def saved(array, **options):
    written = io.BytesIO()
    np.save(written, array, **options)
    return written.getvalue()


def numbers(body):
    return np.frombuffer(base64.b64decode(msgspec.json.decode(body)["vector"]), "<f4")


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8"])
def test_each_row_is_a_query_bit_for_bit(tmp_path, kind):
    """Half and double precision are sent as float32."""
    made = asked(saved(ROWS.astype(kind)), tmp_path)

    assert [msgspec.json.decode(body)["topK"] for body in made] == [TOP_K] * len(ROWS)
    assert np.array_equal([numbers(body) for body in made], ROWS.astype(kind).astype("<f4"))


def test_of_a_long_file_the_first_rows_are_taken(tmp_path):
    made = asked(saved(np.arange(MOST_ROWS + 5, dtype="<f4")[:, None]), tmp_path)

    assert len(made) == MOST_ROWS
    assert numbers(made[-1])[0] == MOST_ROWS - 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (saved(ROWS.astype("<i4")), "holds no rows of float32"),
        (saved(ROWS[0]), "holds no rows of float32"),
        (saved(np.asfortranarray(ROWS)), "holds no rows of float32"),
        (saved(ROWS[:0]), "holds no rows of float32"),
        (saved(ROWS)[:-4], "ends within its rows"),
        (b"\x93NUMPY", "holds no rows of float32"),
        (b"\x93NUMPY\x01\x00\xff\xff{'descr'", "holds no rows of float32"),
    ],
)
def test_what_holds_no_queries_is_said_with_the_name_of_the_file(tmp_path, content, words):
    with pytest.raises(ConfigError, match=f"queries.npy {words}"):
        asked(content, tmp_path)


def test_lines_of_json_are_sent_as_they_are(tmp_path):
    line = b'{"vector":[0.5,1],"topK":3,"filter":{"year":{"$gte":2000}}}'

    assert asked(line + b"\n", tmp_path) == [line]


def test_nothing_to_ask_for_cannot_be_made_up():
    with pytest.raises(ConfigError, match=r"give --body-file queries\.npy"):
        bodies(Plan(Target("http://h"), OpenLoop((Stage(1, 1),)), Payload("vectors")), None)


def test_vectors_are_not_streamed(tmp_path):
    plan = Plan(Target("http://h"), OpenLoop((Stage(1, 1),)), Payload("vectors", body="{}", stream=True))

    with pytest.raises(ConfigError, match="vectors are not streamed"):
        bodies(plan, None)


@pytest.mark.parametrize("packed", [True, False])
def test_a_prefix_moves_every_number_by_hardly_anything(packed):
    """The same prefix by the same, another by another; as a list or as base64."""
    vector = base64.b64encode(ROWS[0].tobytes()).decode() if packed else ROWS[0].tolist()
    body = msgspec.json.encode({"vector": vector, "topK": 3})

    def sent(prefix):
        fields = msgspec.json.decode(prefixed(body, Payload("vectors", prefix=prefix)))
        assert fields["topK"] == 3
        return np.frombuffer(base64.b64decode(fields["vector"]), "<f4") if packed else fields["vector"]

    assert np.array_equal(sent("owl lamp"), sent("owl lamp"))
    assert not np.array_equal(sent("owl lamp"), sent("owl lake"))
    assert np.allclose(sent("owl lamp"), ROWS[0], rtol=1.1 * MOVED, atol=0)


@pytest.mark.parametrize("query", [{"id": "a"}, {"vector": "no base64"}, {"vector": ["a"]}, {"vector": None}])
def test_what_is_no_vector_stays_as_it_is(query):
    body = msgspec.json.encode(query)

    assert msgspec.json.decode(prefixed(body, Payload("vectors", prefix="owl lamp"))) == query
