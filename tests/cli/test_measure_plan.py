"""What the options of `paceline measure` ask for, without asking anybody."""

from __future__ import annotations

import pytest

from paceline.base.errors import ConfigError
from paceline.cli.measure_options import (
    ContentOptions,
    JudgingOptions,
    LoadOptions,
    MeasureOptions,
    OutputOptions,
    TargetOptions,
)
from paceline.cli.measure_plan import plan_of
from paceline.measure.plan import ClosedLoop, Expect, OpenLoop, Payload, Replay, Stage, Stopping
from paceline.measure.scenarios.scenario import UNBOUNDED_S

URL = "http://localhost:8080"
GROUPS = {
    "target": TargetOptions,
    "load": LoadOptions,
    "content": ContentOptions,
    "judging": JudgingOptions,
    "output": OutputOptions,
}


def phases_of(**options):
    """Phases of the options, whichever group they are in; a URL is given unless it is among them."""
    options = {"url": URL, **options}
    groups = {
        name: kind(**{key: value for key, value in options.items() if key in kind.__annotations__})
        for name, kind in GROUPS.items()
    }
    return plan_of(MeasureOptions(**groups))


def plan(**options):
    (phase,) = phases_of(**options)
    return phase.plan


@pytest.mark.parametrize(
    ("options", "load"),
    [
        ({"requests": 1000, "concurrency": 50}, ClosedLoop((Stage(UNBOUNDED_S, 50),), requests=1000)),
        ({}, ClosedLoop((Stage(30, 10),))),
        ({"requests": 5}, ClosedLoop((Stage(UNBOUNDED_S, 10),), requests=5)),
        ({"requests": 5, "duration": "1m"}, ClosedLoop((Stage(60, 10),), requests=5)),
        ({"concurrency": 4, "duration": "1m30s"}, ClosedLoop((Stage(90, 4),))),
        ({"concurrency": 4, "think_time": "500ms"}, ClosedLoop((Stage(30, 4),), think_s=0.5)),
        (
            {"concurrency": 4, "stage": ("10s:8", "5:8")},
            ClosedLoop((Stage(10, 8, start=4), Stage(5, 8, start=8))),
        ),
        ({"rate": 200.0}, OpenLoop((Stage(30, 200),))),
        ({"rate": 200.0, "duration": "90"}, OpenLoop((Stage(90, 200),))),
        ({"rate": 200.0, "requests": 1000}, OpenLoop((Stage(5, 200),))),
        ({"rate": 5.0, "arrivals": "constant"}, OpenLoop((Stage(30, 5),), process="constant")),
        ({"rate": 5.0, "burstiness": 3.0}, OpenLoop((Stage(30, 5),), process="gamma", cv=3)),
        ({"stage": ("30s:100",)}, OpenLoop((Stage(30, 100, start=0),))),
        (
            {"rate": 10.0, "stage": ("30s:100", "0s:5", "1m:5")},
            OpenLoop((Stage(30, 100, start=10), Stage(60, 5, start=5))),
        ),
        ({"trace": "day.csv"}, Replay("day.csv")),
        ({"trace": "day.csv", "speed": 2.0}, Replay("day.csv", speed=2)),
    ],
)
def test_the_load(options, load):
    assert plan(**options).load == load


def test_the_search_for_capacity():
    (phase,) = phases_of(capacity=True, rate=50.0, duration="20s")
    (default,) = phases_of(capacity=True, threshold=("p(99)<100",))

    assert (phase.kind, phase.plan.load, phase.plan.thresholds) == (
        "saturation",
        OpenLoop((Stage(20, 50),)),
        ("p(95)<300|600",),
    )
    assert (default.plan.load, default.plan.thresholds) == (OpenLoop((Stage(30, 10),)), ("p(99)<100",))


@pytest.mark.parametrize(
    ("options", "task", "find"),
    [
        ({"url": URL}, "http", True),
        ({"url": f"{URL}/"}, "http", True),
        ({"url": f"{URL}/v1"}, "http", True),
        ({"url": URL, "task": "http"}, "http", False),
        ({"url": URL, "task": "chat"}, "chat", False),
        ({"url": f"{URL}/search"}, "http", False),
        ({"url": f"{URL}/v1/embeddings"}, "embeddings", False),
        ({"url": f"{URL}/api/v1/chat/completions"}, "chat", False),
        ({"url": f"{URL}/v1/completions/"}, "completions", False),
        ({"url": f"{URL}/v1/embeddings", "body": "{}"}, "http", False),
        ({"url": URL, "body": "{}"}, "http", False),
        ({"url": URL, "method": "get"}, "http", False),
    ],
)
def test_the_task_is_what_the_path_says_or_the_server(options, task, find):
    (phase,) = phases_of(**options)

    assert (phase.plan.payload.task, phase.find_task) == (task, find)


def test_everything_else_has_its_place():
    found = plan(
        headers=("X-Team: a", "x-team:b ", "Accept: */*"),
        token="hush",
        insecure=True,
        timeout="5s",
        no_keep_alive=True,
        max_connections=77,
        task="chat",
        model="m",
        stream=True,
        prompt_words=3,
        max_tokens=9,
        distinct=2,
        method="put",
        expect_status=(200, 404),
        threshold=("p(99)<300", "errors<1%"),
        precision="5%",
        warm_up="0",
        abort_on_failures="50%",
        time_limit="1m",
        name="shop",
        seed=7,
        workers=2,
        histogram=True,
    )

    assert found.target.headers == {"x-team": "b", "Accept": "*/*", "Authorization": "Bearer hush"}
    assert (found.target.method, found.target.insecure) == ("PUT", True)
    assert found.payload == Payload(
        task="chat", model="m", stream=True, prompt_words=3, max_tokens=9, distinct=2
    )
    assert found.expect == Expect(status=(200, 404))
    assert found.stopping == Stopping(precision=0.05, quantile=0.99, failures_percent=50, time_limit_s=60)
    assert (found.timeout_s, found.warmup_s, found.keep_alive) == (5, 0, False)
    assert (found.max_connections, found.name, found.seed, found.workers) == (77, "shop", 7, 2)
    assert (found.records, found.thresholds) == ("histogram", ("p(99)<300", "errors<1%"))


def test_a_header_of_ones_own_goes_before_the_token():
    assert plan(token="new", headers=("authorization: Basic x",)).target.headers == {
        "authorization": "Basic x"
    }


def test_a_run_ends_when_everything_fails_unless_it_keeps_going():
    assert plan().stopping.failures_percent == 100
    assert plan(keep_going=True).stopping.failures_percent is None


def test_every_user_has_a_connection():
    assert plan(concurrency=3000).max_connections == 3000
    assert plan(concurrency=3).max_connections == 1024


def test_a_file_of_objectives_is_overruled_by_the_command_line(tmp_path):
    (tmp_path / "slo.toml").write_text('thresholds = ["p(95)<300", "errors<1%"]')

    found = plan(slo=tmp_path / "slo.toml", threshold=("p(95)<50",))

    assert found.thresholds == ("p(95)<50", "errors<1%")


def test_a_scenario_is_scaled_and_keeps_what_is_not_said(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        """
        name = "mine"
        base_rate = 10
        url = "http://there/v1/chat/completions"
        headers = { X-Team = "a" }
        model = "m"
        stream = true
        body = "{}"
        timeout = "9s"
        records = "histogram"
        [[phase]]
        name = "one"
        executor = "constant-arrival-rate"
        rate = 20
        duration = "10s"
        """
    )

    found = plan(url=None, scenario=str(file), rate=5.0, duration="1m", task="chat")
    other = plan(
        url="http://here/", scenario=str(file), task="chat", body_file="b.jsonl", timeout="1s", name="other"
    )

    assert found.load == OpenLoop((Stage(60, 10),))
    assert (found.target.url, found.target.headers) == ("http://there/v1/chat/completions", {"X-Team": "a"})
    assert found.payload == Payload(task="chat", model="m", body="{}", stream=True)
    assert (found.timeout_s, found.records, found.name) == (9, "histogram", "mine")
    assert (other.target.url, other.payload.body, other.payload.body_file) == (
        "http://here/",
        None,
        "b.jsonl",
    )
    assert (other.timeout_s, other.name) == (1, "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": None}, "--url is missing"),
        ({"url": "localhost:8080"}, "localhost:8080"),
        ({"url": "ftp://a"}, "ftp://a"),
        ({"rate": 5.0, "concurrency": 5}, "--rate and --concurrency do not go together"),
        ({"rate": 5.0, "think_time": "1s"}, "--rate and --think-time do not go together"),
        ({"trace": "a", "requests": 5}, "--trace and --requests do not go together"),
        ({"trace": "a", "rate": 5.0}, "--speed makes it faster"),
        ({"speed": 2.0}, "add --trace FILE"),
        ({"capacity": True, "concurrency": 5}, "--capacity and --concurrency do not go together"),
        ({"stage": ("1s:2",), "duration": "5s"}, "the stages have their own durations"),
        ({"concurrency": 5, "arrivals": "gamma"}, "--concurrency and --arrivals do not go together"),
        ({"arrivals": "gamma"}, "how many? add --rate 50"),
        ({"rate": 5.0, "arrivals": "poisson", "burstiness": 2.0}, "--burstiness is of --arrivals gamma"),
        ({"rate": 5.0, "requests": 100, "duration": "3s"}, "already lasts 20 s; leave out --duration"),
        ({"rate": 0.0}, "--rate 0: must be above 0"),
        ({"rate": -5.0}, "--rate -5: must be above 0"),
        ({"rate": float("nan")}, "must be above 0"),
        ({"requests": 0}, "--requests 0: must be above 0"),
        ({"concurrency": 0}, "--concurrency 0: must be above 0"),
        ({"stage": ("30s",)}, "--stage 30s: expected DURATION:TARGET, such as 30s:100"),
        ({"stage": ("30s:-5",)}, "expected DURATION:TARGET"),
        ({"stage": ("30s:many",)}, "expected DURATION:TARGET"),
        ({"stage": ("soon:5",)}, "--stage soon: expected a duration"),
        ({"duration": "soon"}, "--duration soon: expected a duration"),
        ({"timeout": "0"}, "--timeout 0: must be longer than 0"),
        ({"scenario": "spike", "stage": ("1s:2",)}, "--scenario and --stage do not go together"),
        ({"scenario": "spike", "concurrency": 5}, "scenario spike has rates only; use --rate"),
        ({"body": "a", "body_file": "b"}, "give --body or --body-file, not both"),
        ({"body": "a", "model": "m"}, "--model says nothing about a plain HTTP request"),
        ({"headers": ("X-Team",)}, "--header 'X-Team': expected 'Name: value'"),
        ({"headers": ("X: a\r\nY: b",)}, "expected 'Name: value'"),
        ({"token": "h\u00fcsh"}, "--token: has characters that no header can carry"),
        ({"expect_status": (99,)}, "--expect-status 99: expected 100 to 599"),
        ({"precision": "5"}, "--precision 5: expected a percentage above 0%, such as 5%"),
        ({"abort_on_failures": "0%"}, "expected a percentage above 0%"),
        ({"abort_on_failures": "50%", "keep_going": True}, "not both"),
        ({"threshold": ("p(97)<5",)}, "no percentile 97"),
        ({"concurrency": 5, "max_connections": 4}, "--max-connections 4 is fewer than 5 users"),
        ({"workers": 0}, "--workers: expected `int` >= 1"),
        ({"task": "chat", "prompt_words": 0}, "--prompt-words: expected `int` >= 1"),
    ],
)
def test_what_is_wrong_or_contradictory_is_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        phases_of(**options)

    assert message in caught.value.message
    assert "hush" not in caught.value.message
    assert "\n" not in caught.value.message
