"""Scenarios: TOML in the words of k6, and the runs they make."""

from __future__ import annotations

import msgspec
import pytest

from paceline.base.errors import ConfigError
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan, Replay, Stage, Stopping, Target
from paceline.measure.scenarios.scenario import SEARCH_THRESHOLD, UNBOUNDED_S, Scale, phases, read, read_file

BASE = Plan(Target("http://a"), ClosedLoop((Stage(1, 1),)), name="shop")


def scenario(*bodies: str, head: str = ""):
    tables = "".join(f'[[phase]]\nname = "phase {n}"\n{body}\n' for n, body in enumerate(bodies))
    return read(f'name = "shop"\n{head}\n{tables}', source="shop.toml")


def load(body: str):
    (phase,) = phases(scenario(body), BASE, Scale())
    return phase.plan.load


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            'executor = "constant-arrival-rate"\nrate = 5\nduration = "1m30s"',
            OpenLoop((Stage(90, 5),), process="poisson"),
        ),
        (
            'executor = "constant-arrival-rate"\nrate = 5\narrivals = "gamma"\nburstiness = 3',
            OpenLoop((Stage(30, 5),), process="gamma", cv=3),
        ),
        (
            'executor = "ramping-arrival-rate"\nstages = [{ duration = "30s", target = 100 }]',
            OpenLoop((Stage(30, 100, start=0),)),
        ),
        (
            (
                'executor = "ramping-arrival-rate"\nstart_rate = 7\nstages = [{ duration = 30, target = 100, name = "up" }, '
                '{ duration = "0s", target = 10 }, { duration = "500ms", target = 20 }]'
            ),
            OpenLoop((Stage(30, 100, start=7, name="up"), Stage(0.5, 20, start=10))),
        ),
        (
            'executor = "constant-vus"\nvus = 5\nduration = "10s"\nthink_time = "250ms"\nthink = "exponential"',
            ClosedLoop((Stage(10, 5),), think_s=0.25, think="exponential"),
        ),
        (
            'executor = "ramping-vus"\nstages = [{ duration = "10s", target = 5 }]',
            ClosedLoop((Stage(10, 5, start=1),)),
        ),
        (
            'executor = "shared-iterations"\nvus = 5\niterations = 100',
            ClosedLoop((Stage(UNBOUNDED_S, 5),), requests=100),
        ),
        ('executor = "trace"\ntrace = "day.csv"\nspeed = 2', Replay("day.csv", speed=2)),
        ('kind = "saturation"\nrate = 50\nduration = "5s"', OpenLoop((Stage(5, 50),))),
        ('kind = "saturation"', OpenLoop((Stage(30, 10),))),
    ],
)
def test_executors_become_loads(body, expected):
    assert load(body) == expected


def test_phases_run_one_after_another_each_with_its_name_and_thresholds():
    found = phases(
        scenario(
            'executor = "constant-vus"\nvus = 1',
            'executor = "constant-vus"\nvus = 2\nthresholds = ["p(95)<100"]',
            'kind = "errors"',
            head='thresholds = ["p(95)<300", "errors<1%"]',
        ),
        BASE,
        Scale(),
    )

    assert [(phase.kind, phase.part, phase.plan.name, phase.plan.thresholds) for phase in found] == [
        ("run", "phase 0", "shop phase 0", ("p(95)<300", "errors<1%")),
        ("run", "phase 1", "shop phase 1", ("p(95)<100", "errors<1%")),
        ("errors", "phase 2", "shop phase 2", ("p(95)<300", "errors<1%")),
    ]


def test_a_single_phase_has_the_scenarios_name():
    (phase,) = phases(scenario('executor = "constant-vus"\nvus = 1'), BASE, Scale())

    assert (phase.plan.name, phase.part) == ("shop", "")


def test_thresholds_may_be_k6s_table():
    (phase,) = phases(
        scenario(
            'executor = "constant-vus"\nvus = 1\n[phase.thresholds]\nhttp_req_duration = ["p(95)<300", "avg<100"]\n'
            'http_req_failed = ["rate<0.01"]'
        ),
        BASE,
        Scale(),
    )

    assert phase.plan.thresholds == (
        "http_req_duration: p(95)<300",
        "http_req_duration: avg<100",
        "http_req_failed: rate<0.01",
    )


def test_the_users_thresholds_overrule_and_in_a_search_replace():
    shop = scenario(
        'executor = "constant-vus"\nvus = 1',
        'kind = "saturation"',
        head='thresholds = ["p(95)<300", "errors<1%"]',
    )

    found = phases(shop, BASE, Scale(), thresholds=("p(95)<50",))

    assert [phase.plan.thresholds for phase in found] == [("p(95)<50", "errors<1%"), ("p(95)<50",)]


def test_a_search_always_has_something_to_hold():
    (phase,) = phases(scenario('kind = "saturation"'), BASE, Scale())

    assert phase.plan.thresholds == (SEARCH_THRESHOLD,)


def test_rates_users_and_durations_scale_in_proportion():
    shop = scenario(
        'executor = "ramping-arrival-rate"\nstart_rate = 10\nstages = [{ duration = "30s", target = 40 }]',
        'executor = "constant-vus"\nvus = 5\nduration = "10s"',
        'executor = "shared-iterations"\nvus = 1\niterations = 9\nduration = "10s"',
        head="base_rate = 20\nbase_users = 10",
    )

    found = phases(shop, BASE, Scale(rate=50, users=4, duration_s=80))

    assert [phase.plan.load for phase in found] == [
        OpenLoop((Stage(60, 100, start=25),)),
        ClosedLoop((Stage(20, 2),)),
        # Somebody stays, and as many requests are as many requests.
        ClosedLoop((Stage(10, 1),), requests=9),
    ]


@pytest.mark.parametrize(
    ("head", "body", "scale", "message"),
    [
        (
            "",
            'executor = "constant-arrival-rate"\nrate = 5',
            Scale(rate=9),
            "--rate 9: scenario shop has no base_rate",
        ),
        (
            "base_rate = 5",
            'executor = "constant-arrival-rate"\nrate = 5',
            Scale(users=9),
            "has rates only; use --rate",
        ),
        (
            "base_users = 5",
            'executor = "constant-vus"\nvus = 5',
            Scale(rate=9),
            "has users only; use --concurrency",
        ),
        ("", 'kind = "saturation"', Scale(duration_s=9), "no durations to stretch"),
        ("base_users = 5", 'kind = "errors"', Scale(users=9), "has rates only"),
    ],
)
def test_what_a_scenario_does_not_have_cannot_be_scaled(head, body, scale, message):
    with pytest.raises(ConfigError) as caught:
        phases(scenario(body, head=head), BASE, scale)

    assert message in caught.value.message


def test_a_phases_own_limits_hold_unless_the_command_line_has_them():
    shop = scenario('executor = "constant-vus"\nvus = 1\nwarm_up = 0\ntime_limit = "2m"')
    asked = msgspec.structs.replace(BASE, warmup_s=3.0, stopping=Stopping(time_limit_s=9.0))

    (own,) = phases(shop, BASE, Scale())
    (given,) = phases(shop, asked, Scale())

    assert (own.plan.warmup_s, own.plan.stopping.time_limit_s) == (0, 120)
    assert (given.plan.warmup_s, given.plan.stopping.time_limit_s) == (3, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Invalid value"),
        ('name = "a"', "missing required field `phase`"),
        ('name = "a"\nphase = []', "length >= 1"),
        ('name = "a"\nrte = 5\n[[phase]]\nname = "p"', "unknown field `rte`"),
        ('name = "a"\n[[phase]]\nname = "p"', "phase p: which executor?"),
        ('name = "a"\n[[phase]]\nname = "p"\nexecutor = "externally-controlled"', "$.phase[0].executor"),
        ('name = "a"\n[[phase]]\nname = "p"\nexecutor = "constant-vus"', "phase p: constant-vus needs vus"),
        ('name = "a"\n[[phase]]\nname = "p"\nexecutor = "constant-vus"\nvus = 0', "must be above 0"),
        ('name = "a"\n[[phase]]\nname = "p"\nexecutor = "constant-vus"\nvus = -1', ">= 0"),
        ('name = "a"\n[[phase]]\nname = "p"\nexecutor = "shared-iterations"\nvus = 1', "needs iterations"),
        (
            'name = "a"\n[[phase]]\nname = "p"\nexecutor = "constant-vus"\nvus = 1\nrate = 5',
            "phase p: rate does not belong to constant-vus, which takes vus, duration, iterations",
        ),
        (
            'name = "a"\n[[phase]]\nname = "p"\nexecutor = "constant-vus"\nvus = 1\nduration = "soon"',
            "duration soon: expected a duration such as",
        ),
        (
            (
                'name = "a"\n[[phase]]\nname = "p"\nexecutor = "ramping-vus"\nstart_vus = 0\n'
                'stages = [{ duration = "5s", target = 0 }]'
            ),
            "no load in them",
        ),
        (
            'name = "a"\n[[phase]]\nname = "p"\nkind = "errors"\nrate = 5',
            "rate does not belong to kind errors",
        ),
        (
            'name = "a"\n[[phase]]\nname = "p"\nexecutor = "constant-vus"\nvus = 1\nthresholds = ["p(96)<1"]',
            "no percentile 96",
        ),
        (
            'name = "a"\n[[phase]]\nname = "p"\nkind = "errors"\n[[phase]]\nname = "p"\nkind = "errors"',
            "two phases have the same name",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(text, message):
    with pytest.raises(ConfigError) as caught:
        read(text, source="my.toml")

    assert caught.value.message.startswith("scenario my.toml: ")
    assert message in caught.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin1.toml").write_bytes(b"\xff")

    with pytest.raises(ConfigError, match="not UTF-8 at byte 0"):
        read_file(tmp_path / "latin1.toml")
    with pytest.raises(ConfigError, match="No such file"):
        read_file(tmp_path / "none.toml")
