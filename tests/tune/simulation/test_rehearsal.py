import numpy as np

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.tune.simulation.fleet import run_compiled
from paceline.tune.simulation.rehearsal import rehearse, rehearse_all
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

MODEL = ServiceModel(a=2e-3, b=1e-4, c=4e-5, enter_s=1e-4, leave_s=1e-4, hit_s=2e-5)
BATCH = BatchPolicy(max_size=8, max_cost=512, bucket=8)


def trace(keys, rate=100.0) -> Workload:
    return Workload.from_requests(np.arange(len(keys)) / rate, [16] * len(keys), keys)


def popular(texts=600, kinds=200) -> Workload:
    """Zipf-like: few texts are asked for often."""
    random = np.random.default_rng(4)
    shares = 1 / np.arange(1, kinds + 1)
    keys = random.choice(kinds, texts, p=shares / shares.sum())
    arrive_s = np.cumsum(random.exponential(1 / 150, texts))
    return Workload.from_requests(arrive_s, random.integers(8, 128, texts), keys)


def small(eviction, values=40) -> Station:
    return Station(BATCH, cache=L1Policy(max_bytes=2000 * values, eviction=eviction))


def test_a_text_is_cached_when_it_came_before():
    cached = rehearse(trace([1, 2, 1, 3, 2]), Station(BATCH, cache=L1Policy()), MODEL)

    assert cached.tolist() == [False, False, True, False, True]


def test_not_when_it_was_evicted_meanwhile():
    cached = rehearse(trace([1, 2, 3, 1]), small("lru", values=2), MODEL)

    assert not cached.any()


def test_not_when_its_time_is_over():
    station = Station(BATCH, cache=L1Policy(), ttl_s=0.05)

    assert rehearse(trace([1, 1], rate=10.0), station, MODEL).tolist() == [False, False]


def test_equal_rehearsals_are_one():
    stations = [Station(BATCH, cache=cache) for cache in (L1Policy(), None, L1Policy(eviction="lru"))]
    masks, places = rehearse_all(trace([1, 1]), stations, MODEL)

    assert (masks.tolist(), places.tolist()) == ([[False, True]], [0, -1, 0])


def test_a_cache_that_evicts_answers_about_as_many_texts_in_a_replay():
    """The only difference between compiled and plain: texts are stored at once, not when their batch ends."""
    workload = popular()
    for eviction in ("lru", "cost"):
        station = small(eviction)
        plain = replay(workload, station, MODEL)
        masks, places = rehearse_all(workload, [station], MODEL)
        fleet = run_compiled(workload, [station], masks, places, MODEL)

        assert plain.hits > 200
        assert abs(int(fleet.rows[0]) - plain.rows) <= 0.02 * workload.texts
        assert abs(np.quantile(fleet.latency_s[0], 0.95) / plain.p(0.95) - 1) < 0.05
