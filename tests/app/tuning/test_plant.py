"""What the simulator must know of a running server."""

from __future__ import annotations

import msgspec
import pytest

from paceline.app.tuning.plant import live_knobs, service_of, station_of
from paceline.base.errors import ConfigError


@pytest.fixture
def told(admin):
    return admin.settings()


class TestKnobs:
    def test_are_those_meant_for_tuning_that_a_running_server_takes(self, told):
        names = [knob.name for knob in live_knobs(told, (), "embed")]

        assert {"embed.batch.max_size", "embed.batch.max_cost", "cache.l1.max_bytes"} <= set(names)
        assert "embed.precision" not in names
        assert all(told[name]["live"] and told[name]["tune"] for name in names)

    def test_of_a_service_nobody_simulates_are_all_of_them(self, told):
        assert {knob.name for knob in live_knobs(told, (), "embed")} <= {
            knob.name for knob in live_knobs(told, (), "")
        }

    def test_have_the_value_the_server_has(self, told):
        (knob,) = live_knobs(told, ("embed.batch.max_wait_ms",), "embed")

        assert (knob.baseline, knob.live) == (10.0, True)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("embed.batch.max_siz", "no such setting; did you mean embed.batch.max_size?"),
            ("embed.streams", "takes effect at a start only; tune it with --launch"),
            ("serve.timeout_s", "no list of values to try"),
        ],
    )
    def test_that_cannot_be_turned_are_said(self, told, name, words):
        with pytest.raises(ConfigError, match=f"--knob {name}: ") as failure:
            live_knobs(told, (name,), "embed")

        assert words in failure.value.message


def test_the_service_is_known_by_its_task(told):
    assert [service_of(task, told) for task in ("embeddings", "chat", "http")] == ["embed", "generate", ""]


def test_the_station_is_the_server_as_it_is_laid_out(admin, told):
    station = station_of(admin, told, "embed")
    layout = next(iter(admin.health()["engines"].values()))["engine"]

    assert station is not None
    assert (station.lanes, station.batch.max_cost, station.batch.bucket) == (
        layout["streams"],
        layout["max_cost"],
        layout["bucket"],
    )
    assert station.batch.max_wait_ms == 10.0
    assert station.value_bytes == 8 + 4 * 384


def test_there_is_no_station_without_a_service_or_with_two_engines(admin, told):
    class Two:
        def health(self):
            engines = admin.health()["engines"]
            return {"engines": engines | {"other": next(iter(engines.values()))}}

    assert station_of(admin, told, "") is None
    assert station_of(Two(), told, "embed") is None


def test_a_server_without_a_cache_is_simulated_without(admin, told):
    off = {**told, "cache.enabled": {**told["cache.enabled"], "value": False}}
    station = station_of(admin, off, "embed")

    assert station is not None
    assert station.cache is None
    assert msgspec.structs.replace(station, lanes=3).lanes == 3
