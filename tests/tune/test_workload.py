import numpy as np
import pytest

from paceline.base.errors import ConfigError
from paceline.tune.workload import Workload


def pairs() -> Workload:
    """Two requests of two texts, then one of one."""
    return Workload(
        np.array([0.0, 0.0, 1.0, 1.0, 4.0]),
        np.array([8, 16, 8, 16, 32]),
        np.array([0, 1, 0, 2, 3]),
        np.array([0, 0, 1, 1, 2]),
        6.0,
    )


class TestATrace:
    def test_counts_texts_and_requests(self):
        assert (pairs().texts, pairs().requests, pairs().rate) == (5, 3, 0.5)

    def test_knows_where_each_request_starts(self):
        assert pairs().starts.tolist() == [0, 2, 4, 5]

    def test_is_read_only(self):
        with pytest.raises(ValueError, match="read-only"):
            pairs().length[0] = 9

    def test_faster_shrinks_time_and_nothing_else(self):
        fast = pairs().faster(2.0)

        assert fast.arrive_s.tolist() == [0.0, 0.0, 0.5, 0.5, 2.0]
        assert (fast.duration_s, fast.length.tolist()) == (3.0, pairs().length.tolist())

    def test_its_head_lasts_until_the_next_request(self):
        head = pairs().head(2)

        assert (head.requests, head.texts, head.duration_s) == (2, 4, 4.0)

    def test_a_head_longer_than_the_trace_is_the_trace(self):
        assert pairs().head(99).texts == 5

    def test_of_single_texts_lasts_one_mean_gap_longer_than_its_last_arrival(self):
        trace = Workload.from_requests([0.0, 1.0, 2.0], [8, 8, 8])

        assert (trace.duration_s, trace.key.tolist(), trace.request.tolist()) == (3.0, [0, 1, 2], [0, 1, 2])

    def test_of_one_request_lasts_a_second_longer(self):
        assert Workload.from_requests([0.5], [8]).duration_s == 1.5


class TestIsRefused:
    @pytest.mark.parametrize(
        ("arrive_s", "said"),
        [
            ([], "the trace is empty"),
            ([0.0, 2.0, 1.0], "text 2 arrives at 1.0 s, before the one ahead of it at 2.0 s; sort"),
            ([-1.0, 0.0], "text 0 arrives at -1.0 s; times are seconds since the start"),
            ([0.0, float("nan")], "text 1 arrives at nan s"),
            ([0.0, 1.0, 42.5], "a gap of 41.5 s before text 2 .30 s at most.; cut it there"),
        ],
    )
    def test_when_its_times_cannot_be(self, arrive_s, said):
        with pytest.raises(ConfigError, match=said):
            Workload.from_requests(arrive_s, [8] * len(arrive_s))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"length": [8, 0, 8]}, "text 1 has 0 tokens; a text has at least 1"),
            (
                {"request": [0, 1, 3]},
                "text 2 belongs to request 3; number requests 0, 1, 2 ... without a gap",
            ),
            ({"request": [1, 2, 3]}, "text 0 belongs to request 1"),
            ({"request": [0, 0, 1]}, "text 1 of request 0 arrives after the text ahead of it"),
            ({"key": [1, 2]}, "shapes .* give one of each a text"),
            ({"duration_s": 1.5}, "the trace lasts 1.5 s and its last text arrives at 2.0 s"),
            ({"duration_s": 60.0}, "a gap of 58.0 s before text 3"),
        ],
    )
    def test_when_its_texts_cannot_be(self, change, said):
        whole = {
            "arrive_s": [0.0, 1.0, 2.0],
            "length": [8, 8, 8],
            "key": [0, 1, 2],
            "request": [0, 1, 2],
            "duration_s": 3.0,
        }
        with pytest.raises(ConfigError, match=said):
            Workload(**{**whole, **change})

    @pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
    def test_a_factor_that_makes_no_trace(self, factor):
        with pytest.raises(ConfigError, match="makes no trace"):
            pairs().faster(factor)

    def test_an_empty_head(self):
        with pytest.raises(ConfigError, match="the first 0 requests are no trace"):
            pairs().head(0)
