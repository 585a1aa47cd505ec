"""The recall of a load's queries as a quality gate, and tunes of a collection, on a real server."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest
from msgspec.structs import replace
from running import running

from paceline.app.tuning import session
from paceline.app.tuning.admin import Admin
from paceline.app.tuning.bench import LoadBench
from paceline.app.tuning.recall_gate import SAMPLES, RecallGate
from paceline.base.errors import ConfigError, TrialFailed
from paceline.cli import run
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.slo import parse
from paceline.tune.goal import Goal
from paceline.tune.report import decode

EF, CANDIDATES = "vectors.search.ef", "vectors.search.candidates"
TOKEN = "adm"
DIMENSIONS = 32
SOURCE = np.random.default_rng(5)
RECORDS = SOURCE.standard_normal((4_000, DIMENSIONS)).astype("<f4")
QUERIES = SOURCE.standard_normal((SAMPLES + 100, DIMENSIONS)).astype("<f4")
ASKED = session.Asked(
    goal=Goal(parse(["p(95)<100"])), budget_s=60.0, max_runs=7, candidates=2, margin=0.02, least_quality=0.9
)


@pytest.fixture(scope="module")
def url(state_dir, tmp_path_factory):
    """A server with one collection under a graph, `points`: noise, which is hard to search."""
    settings = (f"vectors.folder={tmp_path_factory.mktemp('collections')}", "vectors.upkeep.graph_rows=1000")
    with running(*settings, "embed.model=", f"admin.token={TOKEN}", state_dir=state_dir) as started:
        with httpx.Client(base_url=started.url, timeout=60) as caller:
            made = [caller.post("/v1/collections", json={"name": "points", "dimension": DIMENSIONS})]
            for start in range(0, len(RECORDS), 1_000):
                vectors = [
                    {"id": str(start + at), "values": base64.b64encode(row.tobytes()).decode()}
                    for at, row in enumerate(RECORDS[start : start + 1_000])
                ]
                made.append(caller.post("/v1/vectors/upsert", json={"vectors": vectors}))
            made.append(caller.post("/v1/collections/points/compact", json={}))
        assert [answer.status_code for answer in made] == [200] * len(made), made[-1].text
        yield started.url


@pytest.fixture
def admin(url):
    client = Admin(url, TOKEN, lease_s=5.0)
    yield client
    client.close()


@pytest.fixture
def queries(tmp_path):
    """A file of them."""
    file = tmp_path / "queries.npy"
    np.save(file, QUERIES)
    return str(file)


@pytest.fixture
def kept(url):
    """A query of another collection, `kept`, whose recall is promised."""
    few = [base64.b64encode(row.tobytes()).decode() for row in RECORDS[:300]]
    vectors = [{"id": str(at), "values": row} for at, row in enumerate(few)]
    with httpx.Client(base_url=f"{url}/v1", timeout=60) as caller:
        caller.post("/collections", json={"name": "kept", "dimension": DIMENSIONS})
        caller.post("/collections/kept/vectors/upsert", json={"vectors": vectors})
        assert (
            caller.post("/collections/kept/tune", json={"recall": 0.9, "vectors": few}).json()["applied"]
            is True
        )
        yield f'{{"vector": "{few[0]}", "collection": "kept"}}'
        caller.delete("/collections/kept")


@pytest.fixture
def plan(url, queries):
    """Half a second of queries by vector."""
    return Plan(
        Target(f"{url}/v1/collections/points/query"),
        OpenLoop((Stage(0.5, 200.0),)),
        Payload("vectors", body_file=queries),
    )


class TestTheGate:
    def test_scores_each_query_by_what_is_found_of_its_neighbours(self, admin, plan):
        """Looking at 16 vectors finds fewer than at 400, which find nearly all that a scan finds."""
        gate = RecallGate(plan, admin)
        few, many = gate.scores({EF: 16, CANDIDATES: 16}), gate.scores({EF: 400, CANDIDATES: 128})

        assert len(few) == len(many) == SAMPLES
        assert {*few, *many} <= {share / 10 for share in range(11)}
        assert np.mean(few) < 0.9
        assert np.mean(many) > 0.98

    def test_scores_are_the_same_each_time_and_in_one_order(self, admin, plan):
        gate = RecallGate(plan, admin)

        assert gate.scores({}) == gate.scores({}) == RecallGate(plan, admin).scores({})

    def test_a_query_that_is_refused_is_a_failed_trial(self, admin, plan):
        other = replace(plan, payload=replace(plan.payload, body='{"vector": [1, 2]}', body_file=None))

        with pytest.raises(TrialFailed, match="answered 400"):
            RecallGate(other, admin).scores({})


def test_runs_share_no_cached_answer(url, admin, plan):
    """The same vectors again, each time moved a little: the server answers none from memory."""
    bench = LoadBench(plan, admin)
    before = cached(url)
    runs = [bench.run({}).observation for _ in range(3)]

    assert [(run.failed, run.sent > 60) for run in runs] == [(0, True)] * 3
    assert cached(url) == before


def cached(url):
    """Queries that were answered from memory so far."""
    told = httpx.get(f"{url}/metrics").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in told.splitlines()
        if line.startswith("paceline_vector_cached_total")
    )


def test_a_query_that_was_asked_before_is_answered_from_memory(url):
    """Or else the test above would show nothing."""
    before = cached(url)
    query = {"vector": QUERIES[0].tolist()}
    for _ in range(2):
        assert httpx.post(f"{url}/v1/collections/points/query", json=query).status_code == 200

    assert cached(url) == before + 1


class TestASession:
    def test_turns_the_knobs_of_a_search_and_judges_their_recall(self, admin, plan):
        with session.running(plan, "queries", ASKED, admin, lambda: False) as (_, order):
            assert {knob.name for knob in order.space.knobs} == {EF, CANDIDATES}
            assert (order.service, order.station) == ("vectors", None)
            assert isinstance(order.gate, RecallGate)

    @pytest.mark.parametrize("path", ["/v1/collections/kept/query", "/v1/vectors/query"])
    def test_of_a_collection_with_a_promise_is_refused(self, admin, plan, kept, path):
        """Its own tuning decides how it is searched, so the knobs would change nothing."""
        target = replace(plan.target, url=f"{admin.root}{path}")
        payload = Payload("vectors", body=kept if path == "/v1/vectors/query" else '{"vector": [1]}')
        tune = session.running(
            replace(plan, target=target, payload=payload), "queries", ASKED, admin, lambda: False
        )

        with pytest.raises(ConfigError, match="collection 'kept' is searched with ef") as refused, tune:
            pass
        assert "paceline vectors tune kept" in refused.value.message


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_whole_tune_takes_no_setting_whose_recall_is_below_the_floor(url, queries, tmp_path, capsys):
    """From the command line: whatever wins, what was run holds the floor, and what does not was refused."""
    code = run(
        [
            *("tune", "--url", f"{url}/v1/collections/points/query", "--admin-token", TOKEN),
            *("--task", "vectors", "--body-file", queries, "--rate", "150", "--duration", "1s"),
            *("--threshold", "p(95)<200", "--least-quality", "0.95", "--candidates", "1", "--max-runs", "7"),
            *("--budget", "60s", "--output", f"{tmp_path}/report.json", "--write", f"{tmp_path}/tuned.toml"),
        ]
    )

    told = capsys.readouterr()
    report = decode((tmp_path / "report.json").read_bytes())
    refused = [check.setting for check in report.quality if not check.accepted]
    accepted = [check.setting for check in report.quality if check.accepted]
    assert (code, report.outcome in {"written", "kept"}) == (0, True), told.err
    assert accepted
    assert all(check.least == 0.95 for check in report.quality)
    assert not [trial for trial in report.trials if trial.setting in refused]
    assert report.winner in [{}, *accepted]
