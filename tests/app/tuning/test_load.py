"""The load of a tune."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from paceline.app.tuning.load import lengths, with_texts
from paceline.base.errors import ConfigError
from paceline.measure.load.bodies import bodies
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target


def made(tmp_path, words=(4, 64), distinct=None, seed=1, **payload):
    plan = Plan(
        Target("http://h/v1/embeddings"),
        OpenLoop((Stage(10.0, 100.0),)),
        Payload(**{"task": "embeddings"} | payload),
        seed=seed,
    )
    folder = tmp_path / f"{seed}-{distinct}-{words}"
    folder.mkdir(exist_ok=True)
    return with_texts(plan, folder, words, distinct)


def texts(plan):
    return [msgspec.json.decode(body)["input"] for body in bodies(plan, None)]


class TestLengths:
    @pytest.mark.parametrize(("text", "found"), [("16", (16, 16)), ("4..64", (4, 64)), (" 1..2 ", (1, 2))])
    def test_are_a_number_or_a_range(self, text, found):
        assert lengths(text) == found

    @pytest.mark.parametrize("text", ["0", "64..4", "a", "4-64", "", "4..", "1..10001"])
    def test_that_cannot_be_are_said(self, text):
        with pytest.raises(
            ConfigError, match=r"--prompt-words .*: expected a number or a range of 1 to 10,000"
        ):
            lengths(text)


class TestTexts:
    def test_are_one_for_each_request_and_all_differ(self, tmp_path):
        found = texts(made(tmp_path))

        assert len(found) > 1_000
        assert len(set(found)) == len(found)

    def test_are_as_long_as_asked_as_many_short_ones_as_long_ones(self, tmp_path):
        """Uniform in the logarithm: half of them are below 16 words."""
        sizes = [len(text.split()) for text in texts(made(tmp_path))]

        assert (min(sizes), max(sizes)) == (4, 64)
        assert 0.4 < sum(size <= 16 for size in sizes) / len(sizes) < 0.6

    def test_repeat_by_popularity(self, tmp_path):
        counts = Counter(texts(made(tmp_path, distinct=50))).most_common()

        assert len(counts) == 50
        assert 1.3 < counts[0][1] / counts[1][1] < 3.5

    def test_are_the_same_for_a_seed(self, tmp_path):
        assert texts(made(tmp_path)) == texts(made(tmp_path))
        assert texts(made(tmp_path)) != texts(made(tmp_path, seed=2))

    def test_of_the_user_stay(self, tmp_path):
        plan = made(tmp_path, body='{"input": "mine"}')

        assert set(texts(plan)) == {"mine"}

    def test_of_a_chat_are_messages(self, tmp_path):
        body = msgspec.json.decode(bodies(made(tmp_path, task="chat"), None)[0])

        assert [message["role"] for message in body["messages"]] == ["user"]
        assert body["max_tokens"] == 64

    def test_none_at_all_cannot_be(self, tmp_path):
        with pytest.raises(ConfigError, match="--distinct 0: expected 1 or more"):
            made(tmp_path, distinct=0)
