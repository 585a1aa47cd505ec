"""The k6 script, read and run by the real k6."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from servers import serving

from paceline.base.errors import ConfigError
from paceline.measure.load.bodies import bodies
from paceline.measure.plan import ClosedLoop, Expect, OpenLoop, Payload, Plan, Replay, Stage, Stopping, Target
from paceline.measure.scenarios import presets
from paceline.measure.scenarios.k6 import MAX_BODIES, script
from paceline.measure.scenarios.scenario import Phase, Scale, phases

K6 = Path(sys.executable).with_name("k6")
HARMLESS = {"K6_NO_USAGE_REPORT": "true", "NO_COLOR": "1"}
PLAN = Plan(
    Target("http://localhost:8080/search"), OpenLoop((Stage(30, 100),), process="constant"), name="shop"
)


def script_of(plan: Plan = PLAN, **changes) -> str:
    changed = msgspec.structs.replace(plan, **changes)
    return script([Phase(changed)], lambda one: bodies(one, None))


def k6(*arguments, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [K6, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **HARMLESS, **environment},
    )


@pytest.fixture
def inspected(tmp_path):
    """What k6 itself understands of a script."""

    def inspect(text):
        (tmp_path / "script.js").write_text(text)
        done = k6("inspect", tmp_path / "script.js")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return inspect


def options_of(text):
    """The options as they stand in the script."""
    return json.JSONDecoder().raw_decode(text.split("export const options = ")[1])[0]


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (
            OpenLoop((Stage(30, 100),)),
            {"executor": "constant-arrival-rate", "rate": 100, "timeUnit": "1s", "duration": "30s"},
        ),
        (
            OpenLoop((Stage(90, 2.5),)),
            {"executor": "constant-arrival-rate", "rate": 5, "timeUnit": "2s", "duration": "1m30s"},
        ),
        (
            OpenLoop((Stage(30, 20, start=0), Stage(0.5, 200, start=100))),
            {
                "executor": "ramping-arrival-rate",
                "startRate": 0,
                "stages": [
                    {"duration": "30s", "target": 20},
                    {"duration": "0s", "target": 100},
                    {"duration": "500ms", "target": 200},
                ],
            },
        ),
        (ClosedLoop((Stage(30, 5),)), {"executor": "constant-vus", "vus": 5, "duration": "30s"}),
        (
            ClosedLoop((Stage(86_400, 50),), requests=1000),
            {"executor": "shared-iterations", "vus": 50, "iterations": 1000, "maxDuration": "24h"},
        ),
        (
            ClosedLoop((Stage(9, 50),), requests=3),
            {"executor": "shared-iterations", "vus": 3, "iterations": 3},
        ),
        (
            ClosedLoop((Stage(30, 5, start=1),)),
            {"executor": "ramping-vus", "startVUs": 1, "stages": [{"duration": "30s", "target": 5}]},
        ),
    ],
)
def test_the_load_in_k6s_words(load, expected, inspected):
    text = script_of(load=load)

    scenario = options_of(text)["scenarios"]["shop"]
    assert {key: scenario[key] for key in expected} == expected
    assert "shop" in inspected(text)["scenarios"]


def test_targets_become_thresholds_and_the_rest_is_said(inspected):
    text = script_of(
        thresholds=(
            "p(95)<300|600",
            "p(99.9)<900",
            "avg<100",
            "max<2s",
            "errors<1%",
            "rate>50",
            "ttft p(95)<500",
            "hits>50%",
        ),
        stopping=Stopping(failures_percent=50),
    )

    assert inspected(text)["thresholds"] == {
        "http_req_duration": ["p(95)<300", "p(99.9)<900", "avg<100", "max<2000"],
        "http_req_failed": [
            "rate<0.01",
            {"threshold": "rate<0.5", "abortOnFail": True, "delayAbortEval": "10s"},
        ],
        "http_reqs": ["rate>50"],
    }
    assert "// Not checked in shop: p95 time to first token, which k6 does not measure." in text
    assert "// Not checked in shop: cache hit rate, which k6 does not measure." in text


def test_no_errors_at_all_is_a_threshold_of_k6(inspected):
    assert inspected(script_of(thresholds=("errors<=0%",)))["thresholds"] == {"http_req_failed": ["rate<=0"]}


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_that_k6_can_run_is_read_by_it(name, inspected):
    found = phases(presets.named(name), msgspec.structs.replace(PLAN, name=name), Scale())

    if name == "saturation":
        with pytest.raises(ConfigError, match="no capacity search"):
            script(found, lambda plan: bodies(plan, None))
        return
    text = script(found, lambda plan: bodies(plan, None))

    assert len(inspected(text)["scenarios"]) == sum(phase.kind == "run" for phase in found)


def test_scenarios_wait_for_each_other_and_are_judged_apart():
    found = phases(presets.named("baseline"), PLAN, Scale())
    options = options_of(script(found, lambda plan: bodies(plan, None)))

    assert {name: one.get("startTime") for name, one in options["scenarios"].items()} == {
        "shop_routine": None,
        "shop_normal": "1m30s",
        "shop_peak": "3m",
    }
    assert "http_req_duration{scenario:shop_peak}" in options["thresholds"]


def test_what_is_left_out_is_said():
    found = phases(presets.named("stress"), PLAN, Scale())
    text = script(found, lambda plan: bodies(plan, None))

    assert "// Left out: shop saturation, because k6 has no capacity search." in text
    assert "// Left out: shop error conditions, because k6 has no error conditions." in text


def test_a_stream_says_what_k6_cannot_measure():
    text = script_of(
        payload=Payload(task="chat", model="m", stream=True, distinct=2), load=OpenLoop((Stage(1, 1),))
    )

    assert "// k6 cannot measure streams" in text
    assert "time to first token (TTFT)" in text
    assert "k6 has no random ones" in text


def test_a_replay_cannot_be_exported():
    with pytest.raises(ConfigError, match="no recorded traces"):
        script_of(load=Replay("trace.csv"))


def test_too_many_bodies_are_refused():
    with pytest.raises(ConfigError, match="lower --distinct or use --body-file"):
        script([Phase(PLAN)], lambda _plan: [b"{}"] * (MAX_BODIES + 1))


def test_no_secret_is_written():
    headers = {"Authorization": "Bearer hush", "X-Api-Key": "hush", "Accept": "*/*"}
    text = script_of(target=Target("http://a", headers=headers))

    assert "hush" not in text
    assert 'if (__ENV.X_API_KEY) headers["X-Api-Key"] = __ENV.X_API_KEY;' in text
    assert '"Accept": "*/*"' in text


def test_hostile_values_stay_values(inspected, tmp_path):
    nasty = '"); throw new Error("x"); //\n\u2028${1+1}`</script>\\'
    plan = Plan(
        Target("http://a/\u00e9?q='\"`${x}", method="PUT", headers={"X-A": nasty.replace("\n", " ")}),
        ClosedLoop((Stage(1, 1),), think_s=0.5, think="exponential"),
        payload=Payload(body=nasty),
        name=nasty,
        expect=Expect(status=(200, 404), json=True),
    )

    assert inspected(script_of(plan))["scenarios"]


def test_k6_sends_the_same_requests(tmp_path):
    """Ten iterations by two users, with a think time, of two bodies in turn; url and token from the environment."""
    file = tmp_path / "bodies.jsonl"
    file.write_text('{"n": 1}\n{"n": "\u00e9\u2028"}\n')
    text = script_of(
        target=Target(
            "http://127.0.0.1:1/search?q=1", headers={"X-Team": 'a "b"', "Authorization": "Bearer old"}
        ),
        load=ClosedLoop((Stage(20, 2),), requests=10, think_s=0.01),
        payload=Payload(body_file=str(file)),
        thresholds=("p(95)<10s", "errors<=0%"),
        expect=Expect(json=True),
        stopping=Stopping(failures_percent=100),
    )
    (tmp_path / "script.js").write_text(text)

    with serving("ok") as server:
        done = k6(
            "run",
            "--quiet",
            tmp_path / "script.js",
            "--env",
            f"API_URL={server.url}",
            "--env",
            "API_TOKEN=new",
        )
        seen = server.seen()

    assert done.returncode == 0, done.stdout + done.stderr
    first = seen.first[0]
    assert (len(seen.first), first["method"], first["target"]) == (10, "POST", "/search?q=1")
    headers = {name.lower(): value for name, value in first["headers"].items()}
    assert (headers["authorization"], headers["x-team"]) == ("Bearer new", 'a "b"')
    assert headers["content-type"] == "application/json"
    assert "checks_succeeded...................: 100.00% 20 out of 20" in done.stdout


def test_k6_fails_where_the_thresholds_are_missed(tmp_path):
    text = script_of(
        load=OpenLoop((Stage(1, 20),), process="constant"),
        thresholds=("errors<1%",),
        expect=Expect(status=(200,)),
    )
    (tmp_path / "script.js").write_text(text)

    with serving("status", status=503) as server:
        done = k6("run", "--quiet", tmp_path / "script.js", API_URL=server.url)

    assert done.returncode == 99
    assert "thresholds on metrics 'http_req_failed' have been crossed" in done.stderr


def test_generated_bodies_are_in_the_script(tmp_path):
    plan = msgspec.structs.replace(
        PLAN,
        target=Target("http://a"),
        payload=Payload(task="embeddings", model="m", distinct=3),
    )
    text = script_of(plan)

    made = [json.dumps(body.decode()) for body in bodies(plan, None)]
    assert len(made) == 3
    assert all(body in text for body in made)
    assert 'const url = server + "/v1/embeddings";' in text
