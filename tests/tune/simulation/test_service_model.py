import pytest

from paceline.base.errors import ConfigError
from paceline.flow.batch_queue import BatchPolicy
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station


def test_run_time_grows_with_rows_and_length():
    assert ServiceModel(a=1.0, b=0.5, c=0.25, d=0.125).run_s(2, 4) == 1.0 + 1.0 + 2.0 + 4.0


@pytest.mark.parametrize("wrong", [{"a": -1.0}, {"spread": float("nan")}, {"enter_s": float("inf")}])
def test_a_value_that_no_server_has_is_refused(wrong):
    name = next(iter(wrong))
    with pytest.raises(ConfigError, match=f"^{name} of the service model is .*; give a number, 0 or more"):
        ServiceModel(**{"a": 1.0, "b": 0.0, "c": 0.0, **wrong})


def test_a_batch_takes_time():
    with pytest.raises(ConfigError, match="takes no time; give a, b, c or d above 0"):
        ServiceModel(a=0.0, b=0.0, c=0.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": BatchPolicy(bucket=8)}, "max_cost 0 and bucket 8 must be resolved"),
        ({"batch": BatchPolicy(max_cost=8)}, "max_cost 8 and bucket 0 must be resolved"),
        ({"lanes": 0}, "0 lanes run nothing; give at least 1"),
        ({"prior": (0.0, 0.0, 0.0, 0.0)}, "prior .* must be 0 or more and not all zero"),
        ({"ttl_s": 0.0}, "a cached answer of 1544 bytes for 0.0 s cannot be"),
    ],
)
def test_a_station_that_cannot_be_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        Station(**{"batch": BatchPolicy(max_cost=64, bucket=8), **change})
