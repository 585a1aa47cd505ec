"""The scenarios that come with the package."""

import pytest

from paceline.base.errors import ConfigError
from paceline.measure.load.schedule import make_schedule
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan, Stage, Target
from paceline.measure.scenarios import presets
from paceline.measure.scenarios.scenario import Scale, phases

BASE = Plan(Target("http://a"), ClosedLoop((Stage(1, 1),)))


def test_there_are_those_of_the_handbook():
    assert presets.names() == ["smoke", "baseline", "spike", "stress", "saturation", "endurance"]


@pytest.mark.parametrize("name", presets.names())
def test_each_says_what_it_is_and_can_be_scheduled(name):
    scenario = presets.named(name)

    assert scenario.name == name
    assert scenario.description
    for phase in phases(scenario, BASE, Scale()):
        assert make_schedule(phase.plan, None, 1).duration_ns > 0


def test_the_parts_that_the_requirements_name():
    parts = {name: [phase.name for phase in presets.named(name).phases] for name in ("baseline", "stress")}

    assert parts == {
        "baseline": ["routine", "normal", "peak"],
        "stress": ["maximum throughput", "saturation", "error conditions"],
    }


def test_a_spike_is_ten_times_the_rate_that_is_asked():
    (phase,) = phases(presets.named("spike"), BASE, Scale(rate=50))

    assert isinstance(phase.plan.load, OpenLoop)
    assert max(stage.target for stage in phase.plan.load.stages) == 500
    assert phase.plan.load.stages[-1].target == 50


def test_a_night_of_endurance():
    (phase,) = phases(presets.named("endurance"), BASE, Scale(duration_s=8 * 3600))

    assert [stage.duration_s for stage in phase.plan.load.stages] == [8 * 3600]


def test_a_printed_preset_is_a_scenario_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(presets.text("stress"))

    assert presets.named(str(file)) == presets.named("stress")


def test_a_preset_is_not_hidden_by_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()

    assert presets.named("smoke").name == "smoke"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spikes", "--scenario spikes: no such preset and no such file; did you mean spike?"),
        ("zzz", "there are smoke, baseline, spike, stress, saturation, endurance"),
        ("none.toml", "scenario none.toml: No such file or directory"),
        ("../presets", "no such preset"),
    ],
)
def test_what_is_not_there_is_refused(name, message):
    with pytest.raises(ConfigError) as caught:
        presets.named(name)

    assert message in caught.value.message
