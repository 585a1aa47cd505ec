"""What a server speaks, and whether it answers, found out before the run."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager

import pytest
from driving import closed_plan, open_plan, trusting
from servers import serving

from paceline.base.errors import PacelineError, Unreachable
from paceline.measure.load.request import requests
from paceline.measure.plan import Expect, Payload
from paceline.measure.probe import check_answers, discover, name_model


@contextmanager
def listing(models, status=200):
    """A server that knows one thing: its models."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = (
                json.dumps({"object": "list", "data": models}).encode() if models is not None else b"<html>"
            )
            self.send_response(status if self.path == "/v1/models" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("models", "task", "model"),
    [
        ([{"id": "minilm", "task": "embed"}], "embeddings", "minilm"),
        ([{"id": "text-embedding-3-small"}], "embeddings", "text-embedding-3-small"),
        ([{"id": "llama"}, {"id": "other"}], "chat", "llama"),
        ([], "http", None),
        (None, "http", None),
    ],
)
@pytest.mark.parametrize("path", ["", "/", "/v1"])
def test_a_url_without_a_path_is_asked_for_its_models(models, task, model, path):
    with listing(models) as url:
        plan = discover(closed_plan(url + path))

    assert (plan.payload.task, plan.payload.model) == (task, model)


def test_a_url_with_a_path_stays_plain_http():
    with listing([{"id": "llama"}]) as url:
        assert discover(closed_plan(url + "/health")).payload == Payload()


def test_a_named_task_gets_the_first_model_and_a_named_model_stays():
    with listing([{"id": "llama"}]) as url:
        unnamed = name_model(closed_plan(url, payload=Payload(task="chat")))
        named = name_model(closed_plan(url, payload=Payload(task="chat", model="mine")))
        own = name_model(closed_plan(url, payload=Payload(task="chat", body="{}")))

    assert [plan.payload.model for plan in (unnamed, named, own)] == ["llama", "mine", None]


def first(plan):
    return requests(plan, None)[0]


def test_a_good_answer_passes():
    with serving("chunked") as server:
        plan = closed_plan(server.url)

        assert check_answers(plan, first(plan)) is None
        assert server.requests_seen == 1


def test_a_good_answer_passes_over_tls():
    with serving("ok", tls=True) as server:
        plan = trusting(closed_plan(server.url), server.ca_file)

        assert check_answers(plan, first(plan)) is None


def test_a_wrong_path_is_said_with_the_way_out():
    with serving("status", status=404, body='{"detail": "no such route"}') as server:
        plan = closed_plan(server.url + "v2/embed")

        with pytest.raises(
            PacelineError, match=r"GET /v2/embed .* answered 404 .*no such route.*check the path"
        ):
            check_answers(plan, first(plan))


def test_an_expected_404_passes():
    with serving("status", status=404) as server:
        plan = closed_plan(server.url, expect=Expect(status=(404,)))

        assert check_answers(plan, first(plan)) is None


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("refuses", "cannot reach 127.0.0.1:.*refused.*is the server running"),
        ("hang", r"no answer from .* within 0\.3 s"),
        ("stalls", r"no answer from .* within 0\.3 s"),
        ("garbage", "does not speak HTTP/1.1"),
        ("half", "closed the connection before its answer was whole"),
        ("closes", "closed the connection before its answer was whole"),
    ],
)
def test_a_server_that_gives_no_answer_is_said_in_one_line(behaviour, words):
    with serving(behaviour) as server:
        plan = open_plan(server.url, timeout_s=0.3)

        with pytest.raises(Unreachable, match=words) as raised:
            check_answers(plan, first(plan))

    assert "\n" not in raised.value.message


def test_an_unknown_host_is_said():
    plan = open_plan("http://no-such-host.invalid/")

    with pytest.raises(Unreachable, match=r"no-such-host\.invalid"):
        check_answers(plan, first(plan))
